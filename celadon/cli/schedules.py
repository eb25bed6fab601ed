"""``celadon schedule list``: what fires next, and what came of the last time."""

from celadon.cli.access.opening import open_access
from celadon.cli.columns import table_of
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.target import TargetChoice
from celadon.domain.language.moments import moment
from celadon.ending import ExitCode
from celadon.service.views.schedules import ScheduleList, ScheduleState, ScheduleView
from celadon.terminal import Table, Text

_BAD = frozenset({ScheduleState.NOT_IN_TEMPORAL, ScheduleState.NOT_IN_CELADON})


async def show_schedules(deployment: str, target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show every schedule of a deployment.

    Raises:
        CommandError: there is no Celadon.
        RefusedError: there is no such deployment, or Temporal did not answer.

    """
    async with open_access(target) as access:
        listed = await access.schedules(deployment)
    if output.is_for_programs:
        print_object(listed, output)
    elif listed.items:
        print_text(schedule_table(listed))
    else:
        print_text(f"{deployment} has no schedule; make one with: celadon schedule create --help")
    return ExitCode.DONE


def schedule_table(listed: ScheduleList) -> Table:
    """Return schedules with what they ask for, when, and what came of it."""
    table = table_of("SCHEDULE", "COMMAND", "WHEN", "FOR", "STATE", "NEXT (UTC)", "LAST (UTC)", "CAME OF IT")
    for one in listed.items:
        last = one.last
        failed = last is not None and last.came_of_it == "failed"
        table.add_row(
            Text(one.schedule, style="bold"),
            Text(one.command),
            Text(one.when),
            Text(_author(one)),
            Text(one.state.value.replace("_", " "), style="yellow" if one.state in _BAD else ""),
            moment(one.next_at),
            moment(None if last is None else last.at),
            Text("-" if last is None else last.said or last.came_of_it, style="red" if failed else ""),
        )
    return table


def _author(one: ScheduleView) -> str:
    if not one.author:
        return "nobody (made in Temporal)" if one.state is not ScheduleState.NOT_IN_CELADON else "-"
    return one.author if one.signed else f"{one.author} (declared)"
