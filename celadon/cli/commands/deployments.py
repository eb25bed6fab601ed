"""``deployment``: what serves under a name."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

import typer

from celadon.cli.named_commands import DeclaringGroup
from celadon.cli.options import (
    DeploymentArgument,
    OutputOption,
)
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target import TargetChoice
from celadon.cli.targeting import speaks_to_celadon

deployment_app = typer.Typer(cls=DeclaringGroup, no_args_is_help=True, rich_markup_mode="markdown")


@deployment_app.command(name="list")
@speaks_to_celadon
def list_(target: TargetChoice, output: OutputOption = OutputFormat.TEXT) -> None:
    """List deployments by name: what is live and healthy, where the latest rollout stands, and who must act.

    Examples:
    ```console
    celadon deployment list
    celadon deployment list -o json | jq -r '.deployments[] | select(.healthy < .wanted) | .deployment'
    celadon deployment list -o json | jq -r '.deployments[] | select(.waits_for != "") | .next_step'
    ```
    """
    from celadon.cli.deployments import show_deployments

    run(lambda: show_deployments(target, output), output)


@deployment_app.command()
@speaks_to_celadon
def show(
    deployment: DeploymentArgument,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show a deployment: both colours with their replicas, which routers serve its epoch, its policy.

    It is read from Postgres alone; 'celadon rollout status' adds what the rollout under way knows. A deployment that
    was deleted can still be shown.

    Examples:
    ```console
    celadon deployment show chat
    celadon deployment show chat -o json | jq '.sets[] | {revision, healthy, wanted}'
    ```
    """
    from celadon.cli.deployments import show_deployment

    run(lambda: show_deployment(deployment, target, output), output)
