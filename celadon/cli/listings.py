"""``celadon rollout list``, ``find`` and ``history``: what is, and what was."""

from celadon.cli.access.opening import open_access
from celadon.cli.columns import table_of
from celadon.cli.deliveries import delivery_table
from celadon.cli.ending import ExitCode
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.target_choice import TargetChoice
from celadon.cli.tree import describe_outcome
from celadon.client.wording import describe_event, revision_name
from celadon.domain.language.moments import moment, span
from celadon.service.pages import DeploymentList
from celadon.table.records.events import AuditEvent
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord
from celadon.terminal import Table, Text


async def show_list(target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show all deployments with what is live and who must act.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.

    """
    async with open_access(target) as access:
        listed = await access.deployments()
    if output.is_for_programs:
        print_object(listed, output)
    elif listed.deployments:
        print_text(deployment_table(listed))
    else:
        print_text("There is no deployment yet; create one with: celadon deploy -f FILE")
    return ExitCode.DONE


async def show_history(
    deployment: str,
    rollout: int | None,
    limit: int,
    target: TargetChoice,
    output: OutputFormat,
) -> ExitCode:
    """Show rollouts and the audit log, from the table alone.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.
        RefusedError: there is no such deployment or rollout.

    """
    async with open_access(target) as access:
        found = await access.history(deployment, rollout, limit)
    if output.is_for_programs:
        print_object(found, output)
    else:
        print_text(rollout_table(found.rollouts), "", event_table(found.events))
        if found.notified:
            print_text("", delivery_table(found.notified))
    return ExitCode.DONE


async def show_found(
    wanted: RolloutFilter,
    before: int | None,
    limit: int,
    target: TargetChoice,
    output: OutputFormat,
) -> ExitCode:
    """Show rollouts of all deployments, newest first.

    Raises:
        CommandError: there is no Celadon.
        RefusedError: there is no such deployment.

    """
    async with open_access(target) as access:
        page = await access.rollouts(wanted, before=before, limit=limit)
    if output.is_for_programs:
        print_object(page, output)
        return ExitCode.DONE
    if not page.rollouts:
        print_text("There is no such rollout.")
        return ExitCode.DONE
    print_text(found_table(page.rollouts))
    if page.next_before is not None:
        print_text("", f"There are more: the same command with --before {page.next_before}")
    return ExitCode.DONE


def deployment_table(listed: DeploymentList) -> Table:
    """Return deployments with who must act."""
    table = table_of("DEPLOYMENT", "LIVE", "HEALTHY", "ROLLOUT", "PHASE", "SINCE", "WAITS FOR")
    for line in listed.deployments:
        rollout = line.rollout
        full = line.healthy >= line.wanted
        table.add_row(
            Text(line.deployment + (" (frozen)" if line.frozen else ""), style="bold"),
            Text(revision_name(line.live_revision), style="green" if line.live_revision else "yellow"),
            Text(f"{line.healthy}/{line.wanted}", style="green" if full else "yellow"),
            "-" if rollout is None else _move(rollout),
            Text("-") if rollout is None else _phase_or_outcome(rollout),
            "-" if rollout is None else f"{span(listed.at - rollout.phase_since)} ago",
            line.waits_for or "-",
        )
    return table


def _phase_or_outcome(rollout: RolloutRecord) -> Text:
    if rollout.outcome is None:
        return Text(rollout.phase.value, style="yellow")
    return Text(rollout.outcome.value)


def _move(rollout: RolloutRecord) -> str:
    return f"{rollout.rollout}: {revision_name(rollout.from_revision)} → {revision_name(rollout.to_revision)}"


def rollout_table(rollouts: tuple[RolloutRecord, ...]) -> Table:
    """Return rollouts with how they ended."""
    table = table_of("ROLLOUT", "STARTED (UTC)", "TOOK", "BY", "SWITCHED (UTC)", "CUT", "OUTCOME")
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


def found_table(rollouts: tuple[RolloutRecord, ...]) -> Table:
    """Return rollouts of several deployments."""
    table = table_of("DEPLOYMENT", "ROLLOUT", "STARTED (UTC)", "BY", "PHASE", "OUTCOME")
    for one in rollouts:
        table.add_row(
            Text(one.deployment, style="bold"),
            _move(one),
            moment(one.started_at),
            one.requested_by,
            Text("-") if one.outcome is not None else _phase_or_outcome(one),
            Text("-") if one.outcome is None else describe_outcome(one),
        )
    return table


def event_table(events: tuple[AuditEvent, ...]) -> Table:
    """Return lines of the audit log."""
    table = table_of("TIME (UTC)", "ROLLOUT", "EVENT")
    for event in events:
        table.add_row(
            moment(event.at),
            "-" if event.rollout is None else str(event.rollout),
            Text(describe_event(event)),
        )
    return table
