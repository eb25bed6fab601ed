"""``celadon schedule list``: what fires next, and what came of the last time."""

from celadon.cli.access.opening import open_access
from celadon.cli.columns import table_of
from celadon.cli.output import OutputFormat, print_answer
from celadon.cli.target import TargetChoice
from celadon.cli.tree import styled
from celadon.domain.language.moments import moment
from celadon.ending import ExitCode
from celadon.service.views.schedules import ScheduleList, schedule_row
from celadon.terminal import Table, Text


async def show_schedules(deployment: str, target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show every schedule of a deployment.

    Raises:
        CommandError: there is no Celadon.
        RefusedError: there is no such deployment, or Temporal did not answer.

    """
    async with open_access(target) as access:
        listed = await access.schedules(deployment)
    none = f"{deployment} has no schedule; make one with: celadon schedule create --help"
    print_answer(listed, output, lambda: [schedule_table(listed) if listed.items else none])
    return ExitCode.DONE


def schedule_table(listed: ScheduleList) -> Table:
    """Return schedules with what they ask for, when, and what came of it."""
    table = table_of("SCHEDULE", "COMMAND", "WHEN", "FOR", "STATE", "NEXT (UTC)", "LAST (UTC)", "CAME OF IT")
    for one in listed.items:
        row = schedule_row(one)
        table.add_row(
            Text(row.name, style="bold"),
            Text(row.command),
            Text(row.when),
            Text(row.author or "-"),
            styled(row.state),
            moment(row.next_at),
            moment(row.last_at),
            Text("-") if row.last is None else styled(row.last),
        )
    return table
