"""``celadon rollout status``: how a deployment and its latest rollout stand."""

from celadon.cli.access.opening import open_access
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.target import TargetChoice
from celadon.ending import ExitCode


async def show_status(deployment: str, target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show how a deployment and its latest rollout stand.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.
        RefusedError: there is no such deployment.

    """
    async with open_access(target) as access:
        view = await access.view(deployment)
    if output.is_for_programs:
        print_object(view, output)
    else:
        from celadon.cli.tree import rollout_tree  # noqa: PLC0415 - what draws is loaded when there is something to draw

        print_text(rollout_tree(view))
    return ExitCode.DONE
