"""``celadon router list``: which routers are waited for, and which no longer."""

from datetime import datetime, timedelta

from celadon.cli.access.opening import open_access
from celadon.cli.columns import table_of
from celadon.cli.ending import ExitCode
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.target_choice import TargetChoice
from celadon.domain.decisions.enrolment import CERTIFICATE_EXPIRES_SOON
from celadon.domain.language.moments import moment, span
from celadon.table.records.routers import Fleet, RouterLine, RouterState
from celadon.terminal import Table, Text

_STYLES = {
    RouterState.LIVE: "green",
    RouterState.ENROLLED: "cyan",
    RouterState.NEW: "cyan",
    RouterState.CUT_OFF: "bold yellow",
    RouterState.GONE: "dim",
}
_NAMED_AT_MOST = 3


async def show_routers(target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show all routers.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.

    """
    async with open_access(target) as access:
        fleet = await access.routers()
    if output.is_for_programs:
        print_object(fleet, output)
    elif fleet.routers:
        print_text(router_table(fleet))
    else:
        print_text("No router is enrolled yet; enrol one with: celadon router enrol NAME")
    return ExitCode.DONE


def router_table(fleet: Fleet) -> Table:
    """Return routers with what they serve."""
    table = table_of("ROUTER", "STATE", "GATEWAY", "SEEN", "CERTIFICATE", "SERVES")
    for one in fleet.routers:
        table.add_row(
            Text(one.router, style="bold"),
            Text(one.state.value.replace("_", " "), style=_STYLES[one.state]),
            one.gateway,
            "never" if one.seen_at is None else f"{span(fleet.at - one.seen_at)} ago",
            _certificate(one, fleet.at),
            _serves(one),
        )
    return table


def _certificate(one: RouterLine, now: datetime) -> Text:
    if one.enrolled_at is None:
        return Text("not enrolled", style="dim")
    if one.identity is None:
        return Text("socket")
    if one.certificate_expires_at is None:
        return Text("not shown yet")
    left = one.certificate_expires_at - now
    if left <= timedelta(0):
        return Text("expired", style="bold red")
    return Text(f"{span(left)} left", style="bold yellow" if left < CERTIFICATE_EXPIRES_SOON else "")


def _serves(one: RouterLine) -> Text:
    if one.nack:
        return Text(f"refuses its configuration: {one.nack}", style="bold red")
    match one.state:
        case RouterState.GONE:
            gone = "unseen for too long" if one.gone_at is None else f"forgotten {moment(one.gone_at)} UTC"
            return Text(f"{gone}; nobody waits for it", style="dim")
        case RouterState.ENROLLED:
            return Text("nothing yet: it has not connected", style="cyan")
        case RouterState.NEW if not one.stream_is_up:
            return Text("nothing, and it is not connected any more; nobody waits for it", style="bold yellow")
        case RouterState.NEW:
            return Text("nothing yet; nobody waits for it", style="cyan")
        case RouterState.LIVE | RouterState.CUT_OFF if one.behind:
            named = [f"{line.deployment} ({_epochs(line.serves, line.epoch)})" for line in one.behind[:_NAMED_AT_MOST]]
            more = len(one.behind) - len(named)
            rest = f" and {more} more" if more else ""
            return Text(f"is behind in {', '.join(named)}{rest}; blue is kept for it", style="yellow")
        case _:
            return Text("everything as it is now", style="green")


def _epochs(serves: int | None, present: int) -> str:
    return f"epoch {'none' if serves is None else serves} of {present}"
