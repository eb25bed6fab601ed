"""``celadon rollout status``, ``list`` and ``history``: what is, and what was."""

from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from celadon.cli.ending import ExitCode
from celadon.cli.moments import moment, span
from celadon.cli.output import OutputFormat, print_json, print_text
from celadon.cli.session import open_session
from celadon.cli.tree import describe_event, describe_outcome, revision_name, rollout_tree
from celadon.client.overview import table_next_step, who_must_act
from celadon.domain.errors import RefusalCode, refuse
from celadon.domain.strictness import Record
from celadon.table.history import AuditEvent, RolloutRecord, list_rollouts, read_events, read_rollout
from celadon.table.overview import DeploymentLine, list_deployments


class ListedDeployment(DeploymentLine):
    """A deployment with who must act."""

    waits_for: str
    """Who moves its rollout on; empty while none is under way."""
    next_step: str


class DeploymentList(Record):
    """What ``rollout list -o json`` prints."""

    deployments: tuple[ListedDeployment, ...]


class History(Record):
    """What ``rollout history -o json`` prints."""

    deployment: str
    rollouts: tuple[RolloutRecord, ...]
    """Newest first."""
    events: tuple[AuditEvent, ...]
    """Oldest first."""


async def show_status(deployment: str, data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Show how a deployment and its latest rollout stand.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.
        RefusedError: there is no such deployment.

    """
    async with open_session(data_dir) as session:
        view = await session.view(deployment)
    if output is OutputFormat.JSON:
        print_json(view)
    else:
        print_text(rollout_tree(view))
    return ExitCode.DONE


async def show_list(data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Show all deployments with what is live and who must act; errors as for the status."""
    async with open_session(data_dir) as session:
        lines = await session.read(list_deployments)
    if output is OutputFormat.JSON:
        print_json(DeploymentList(deployments=tuple(_listed(line) for line in lines)))
    elif lines:
        print_text(_deployment_table(lines, datetime.now(UTC)))
    else:
        print_text("There is no deployment yet; create one with: celadon deploy -f FILE")
    return ExitCode.DONE


async def show_history(
    deployment: str,
    rollout: int | None,
    limit: int,
    data_dir: Path | None,
    output: OutputFormat,
) -> ExitCode:
    """Show rollouts and the audit log, from the table alone.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.
        RefusedError: there is no such deployment or rollout.

    """
    async with open_session(data_dir) as session:
        if rollout is None:
            rollouts = await session.read(lambda tx: list_rollouts(tx, deployment, limit=limit))
            if not rollouts and deployment not in {one.deployment for one in await session.read(list_deployments)}:
                raise await session.no_such_deployment(deployment)
        else:
            record = await session.read(lambda tx: read_rollout(tx, deployment, rollout))
            if record is None:
                raise refuse(
                    RefusalCode.NO_SUCH_ROLLOUT,
                    f"{deployment} has no rollout {rollout}",
                    f"list them with 'celadon rollout history {deployment}'",
                )
            rollouts = (record,)
        events = await session.read(lambda tx: read_events(tx, deployment, rollout=rollout, limit=limit))
    if output is OutputFormat.JSON:
        print_json(History(deployment=deployment, rollouts=rollouts, events=events))
    else:
        print_text(_rollout_table(rollouts), "", _event_table(events))
    return ExitCode.DONE


def _listed(line: DeploymentLine) -> ListedDeployment:
    under_way = line.rollout is not None and line.rollout.outcome is None
    return ListedDeployment(
        **dict(line),
        waits_for=who_must_act(line.rollout),
        next_step=table_next_step(line.rollout) if under_way and line.rollout is not None else "",
    )


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _deployment_table(lines: tuple[DeploymentLine, ...], now: datetime) -> Table:
    table = _table("DEPLOYMENT", "LIVE", "HEALTHY", "ROLLOUT", "PHASE", "SINCE", "WAITS FOR")
    for line in lines:
        rollout = line.rollout
        full = line.healthy >= line.wanted
        table.add_row(
            Text(line.deployment + (" (frozen)" if line.frozen else ""), style="bold"),
            Text(revision_name(line.live_revision), style="green" if line.live_revision else "yellow"),
            Text(f"{line.healthy}/{line.wanted}", style="green" if full else "yellow"),
            "-" if rollout is None else _move(rollout),
            Text("-") if rollout is None else _phase_or_outcome(rollout),
            "-" if rollout is None else f"{span(now - rollout.phase_since)} ago",
            who_must_act(rollout) or "-",
        )
    return table


def _phase_or_outcome(rollout: RolloutRecord) -> Text:
    if rollout.outcome is None:
        return Text(rollout.phase.value, style="yellow")
    return Text(rollout.outcome.value)


def _move(rollout: RolloutRecord) -> str:
    return f"{rollout.rollout}: {revision_name(rollout.from_revision)} → {revision_name(rollout.to_revision)}"


def _rollout_table(rollouts: tuple[RolloutRecord, ...]) -> Table:
    table = _table("ROLLOUT", "STARTED (UTC)", "TOOK", "BY", "SWITCHED (UTC)", "CUT", "OUTCOME")
    for one in rollouts:
        table.add_row(
            Text(_move(one), style="bold"),
            moment(one.started_at),
            "-" if one.completed_at is None else span(one.completed_at - one.started_at),
            one.requested_by,
            moment(one.switched_at),
            str(one.requests_cut),
            describe_outcome(one),
        )
    return table


def _event_table(events: tuple[AuditEvent, ...]) -> Table:
    table = _table("TIME (UTC)", "ROLLOUT", "EVENT")
    for event in events:
        table.add_row(
            moment(event.at),
            "-" if event.rollout is None else str(event.rollout),
            Text(describe_event(event)),
        )
    return table
