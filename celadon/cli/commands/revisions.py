"""``revision``: what a deployment can serve, registered before it is rolled out."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from pathlib import Path
from typing import Annotated

import typer

from celadon.cli.commands.rollouts import PlainSecretsOption, SetOption
from celadon.cli.commands.rollouts import ReasonOption as ReasonOrFilesOption
from celadon.cli.options import ByOption, DeploymentArgument, OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target_choice import TargetChoice
from celadon.cli.targeting import speaks_to_celadon

revision_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@revision_app.command()
@speaks_to_celadon
def add(  # noqa: PLR0913 - each is an option that a person can give
    *,
    file: Annotated[
        Path,
        typer.Option("--file", "-f", metavar="FILE", help="A deployment file, YAML or JSON; - is standard input."),
    ],
    settings: SetOption = None,
    reason: ReasonOrFilesOption = None,
    allow_plain_secrets: PlainSecretsOption = False,
    by: ByOption = None,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Register the revision of a deployment file without rolling it out.

    The same content keeps the number that it has had before, so a pipeline can register what it has built, and a person
    rolls it out later. The deployment must be there; the file's other keys are checked and not used.

    Examples:
    ```console
    celadon revision add -f chat.yaml
    celadon revision add -f chat.yaml --set revision.env.MODEL=llama-3-70b -o json | jq .revision
    ```
    """
    from celadon.cli.registering import add_revision

    run(
        lambda: add_revision(
            file,
            settings or (),
            target,
            output,
            by=by,
            reason=reason,
            allow_plain_secrets=allow_plain_secrets,
        ),
        output,
    )


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
