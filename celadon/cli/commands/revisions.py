"""``revision``: what a deployment can serve, registered before it is rolled out."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

import typer

from celadon.cli.named_commands import DeclaringGroup
from celadon.cli.options import DeploymentArgument, OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target import TargetChoice
from celadon.cli.targeting import speaks_to_celadon

revision_app = typer.Typer(cls=DeclaringGroup, no_args_is_help=True, rich_markup_mode="markdown")


@revision_app.command(name="list")
@speaks_to_celadon
def list_(deployment: DeploymentArgument, target: TargetChoice, output: OutputOption = OutputFormat.TEXT) -> None:
    """List the revisions of a deployment, newest first; secrets are shown by name.

    Examples:
    ```console
    celadon revision list chat
    celadon revision list chat -o json | jq '.revisions[0].content'
    ```
    """
    from celadon.cli.registering import show_revisions

    run(lambda: show_revisions(deployment, target, output), output)
