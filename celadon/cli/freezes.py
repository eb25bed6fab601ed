"""``celadon freezes``: what lets nothing of any deployment be switched to green."""

from celadon.cli.access.opening import open_access
from celadon.cli.output import OutputFormat, print_answer
from celadon.cli.target import TargetChoice
from celadon.cli.tree import styled
from celadon.ending import ExitCode
from celadon.service.views.freezes import freeze_phrases


async def show_freezes(target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show the freezes of all deployments that hold or are to come, newest first.

    Raises:
        CommandError: there is no Celadon.

    """
    async with open_access(target) as access:
        listed = await access.freezes()
    none = "No freeze of all deployments holds or is to come."
    print_answer(listed, output, lambda: [styled(one) for one in freeze_phrases(listed.items, "", listed.at)] or [none])
    return ExitCode.DONE
