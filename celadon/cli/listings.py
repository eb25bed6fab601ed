"""``celadon rollout list``, ``find`` and ``history``: what is, and what was."""

from datetime import UTC, datetime

from celadon.cli.access.opening import open_access
from celadon.cli.columns import table_of
from celadon.cli.deliveries import delivery_table
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.target import TargetChoice
from celadon.cli.tree import STYLES, outcome_line
from celadon.domain.language.moments import moment
from celadon.ending import ExitCode
from celadon.service.views.events import errors_told, event_rows
from celadon.service.views.history import History
from celadon.service.views.rollout import rollout_summary
from celadon.table.records.events import AuditEvent
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord
from celadon.terminal import Table, Text


async def show_history(
    deployment: str,
    *,
    rollout: int | None,
    before: int | None,
    limit: int,
    target: TargetChoice,
    output: OutputFormat,
) -> ExitCode:
    """Show rollouts and the audit log, newest first, from the table alone.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.
        RefusedError: there is no such deployment or rollout.

    """
    async with open_access(target) as access:
        history = await access.history(deployment, rollout=rollout, before=before, limit=limit)
    if output.is_for_programs:
        print_object(history, output)
    else:
        print_text(history_table(history, datetime.now(UTC)), "", event_table(history.events))
        if history.notified:
            print_text("", delivery_table(history.notified))
        if history.cursor is not None:
            print_text("", f"There are older rollouts: the same command with --before {history.cursor}")
    return ExitCode.DONE


async def show_rollouts(
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
    if not page.items:
        is_any = wanted == RolloutFilter() and before is None
        print_text(
            "There is no rollout yet; start one with: celadon deploy -f FILE" if is_any else "There is no such rollout."
        )
        return ExitCode.DONE
    print_text(rollout_table(page.items, datetime.now(UTC)))
    if page.cursor is not None:
        print_text("", f"There are more: the same command with --before {page.cursor}")
    return ExitCode.DONE


def history_table(past: History, now: datetime) -> Table:
    """Return the rollouts of one deployment with how they ended."""
    errors = errors_told(past.events)
    table = table_of("ROLLOUT", "STARTED (UTC)", "TOOK", "BY", "SWITCHED (UTC)", "CUT", "OUTCOME")
    for one in past.items:
        row = rollout_summary(one, now, errors=errors.get(one.rollout, ()))
        table.add_row(
            Text(f"{row.number}: {row.move}", style="bold"),
            moment(row.started_at),
            "-" if row.is_under_way else row.took,
            row.requested_by,
            moment(row.switched_at),
            str(row.requests_cut),
            outcome_line(row),
        )
    return table


def rollout_table(rollouts: tuple[RolloutRecord, ...], now: datetime) -> Table:
    """Return rollouts of several deployments with where they stand, or how they ended."""
    table = table_of("DEPLOYMENT", "ROLLOUT", "STARTED (UTC)", "BY", "PHASE OR OUTCOME")
    for one in rollouts:
        row = rollout_summary(one, now)
        table.add_row(
            Text(row.deployment, style="bold"),
            f"{row.number}: {row.move}",
            moment(row.started_at),
            row.requested_by,
            outcome_line(row),
        )
    return table


def event_table(events: tuple[AuditEvent, ...]) -> Table:
    """Return lines of the audit log of one deployment."""
    table = table_of("TIME (UTC)", "ROLLOUT", "EVENT")
    for row in event_rows(events):
        table.add_row(moment(row.at), row.rollout, Text(row.text, style=STYLES[row.tone]))
    return table
