"""``celadon router list``: which routers are waited for, and which no longer."""

from celadon.cli.access.opening import open_access
from celadon.cli.columns import table_of
from celadon.cli.output import OutputFormat, print_answer
from celadon.cli.target import TargetChoice
from celadon.cli.tree import styled
from celadon.ending import ExitCode
from celadon.service.views.routers import RouterList, router_row
from celadon.terminal import Table, Text


async def show_routers(target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show all routers.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.

    """
    async with open_access(target) as access:
        listed = await access.routers()
    none = "No router is enrolled yet; enrol one with: celadon router enrol NAME"
    print_answer(listed, output, lambda: [router_table(listed) if listed.items else none])
    return ExitCode.DONE


def router_table(listed: RouterList) -> Table:
    """Return routers with what they serve."""
    table = table_of("ROUTER", "STATE", "GATEWAY", "SEEN", "CERTIFICATE", "SERVES")
    for line in listed.items:
        row = router_row(line, listed.at)
        table.add_row(
            Text(row.name, style="bold"),
            styled(row.state),
            row.gateway,
            row.seen,
            styled(row.certificate),
            styled(row.serves),
        )
    return table
