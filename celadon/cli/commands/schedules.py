"""``schedule``: commands that Temporal gives at a moment, or again and again."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

import typer

from celadon.cli.named_commands import DeclaringGroup
from celadon.cli.options import DeploymentArgument, OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target import TargetChoice
from celadon.cli.targeting import speaks_to_celadon

schedule_app = typer.Typer(cls=DeclaringGroup, no_args_is_help=True, rich_markup_mode="markdown")


@schedule_app.command(name="list")
@speaks_to_celadon
def list_(deployment: DeploymentArgument, target: TargetChoice, output: OutputOption = OutputFormat.TEXT) -> None:
    """List the schedules of a deployment: what fires next, and what came of the last firing.

    Schedules that were made in Temporal are among them, and so is what was deleted on one side alone.

    Examples:
    ```console
    celadon schedule list chat
    celadon schedule list chat -o json | jq -r '.schedules[] | select(.last.came_of_it == "failed") | .last.said'
    ```
    """
    from celadon.cli.schedules import show_schedules

    run(lambda: show_schedules(deployment, target, output), output)
