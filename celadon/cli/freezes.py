"""``celadon freezes``: what lets nothing of any deployment be switched to green."""

from celadon.cli.access.opening import open_access
from celadon.cli.output import OutputFormat, print_object, print_text
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
    if output.is_for_programs:
        print_object(listed, output)
    elif listed.items:
        print_text(*(styled(one) for one in freeze_phrases(listed.items, "", listed.at)))
    else:
        print_text("No freeze of all deployments holds or is to come.")
    return ExitCode.DONE
