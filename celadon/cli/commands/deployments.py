"""``deployment``: what serves under a name, how many replicas it has, and its end."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from celadon.cli.commands.decisions import ByOption, ReasonOption
from celadon.cli.options import DeploymentArgument, OutputOption, TimeoutOption, check_timeout, parse_duration_option
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target_choice import TargetChoice
from celadon.cli.targeting import speaks_to_celadon

deployment_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@deployment_app.command(name="list")
@speaks_to_celadon
def list_(target: TargetChoice, output: OutputOption = OutputFormat.TEXT) -> None:
    """List deployments: what is live, how many replicas are healthy of those wanted, and what moves.

    Examples:
    ```console
    celadon deployment list
    celadon deployment list -o json | jq -r '.deployments[] | select(.healthy < .wanted) | .deployment'
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


@deployment_app.command()
@speaks_to_celadon
def create(  # noqa: PLR0913 - each is an option that a person can give
    deployment: DeploymentArgument,
    *,
    replicas: Annotated[int, typer.Option(min=0, help="How many it shall have.", metavar="N")] = 1,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="A policy file: how its rollouts go when they say nothing."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="A label, by which tokens are scoped. May be repeated."),
    ] = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Create a deployment without rolling anything out; 'celadon deploy' does both at once.

    Nothing of it runs before its first rollout. Given again, the same command changes nothing; where another deployment
    has this name, it is refused.

    Examples:
    ```console
    celadon deployment create chat --replicas 3 --policy careful.policy.yaml --label team=search
    celadon revision add -f chat.yaml && celadon rollout start chat --revision 1
    ```
    """
    from celadon.cli.registering import create_deployment

    run(
        lambda: create_deployment(deployment, replicas, policy, labels or [], target, output, by=by, reason=reason),
        output,
    )


@deployment_app.command()
@speaks_to_celadon
def label(  # noqa: PLR0913 - each is an option that a person can give
    deployment: DeploymentArgument,
    labels: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE]...", help="All labels that it shall have.", show_default=False),
    ] = None,
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Take all of its labels away.")] = False,
    reason: ReasonOption = "",
    by: ByOption = None,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Give a deployment other labels; those that are not named are taken away.

    Tokens can be scoped by labels, so who may see and change the deployment changes with them.

    Examples:
    ```console
    celadon deployment label chat team=search env=prod --reason "search took it over"
    celadon deployment label chat --clear
    ```
    """
    if bool(labels) is clear:
        raise typer.BadParameter("name the labels that it shall have, or take all away with --clear")
    from celadon.cli.registering import label_deployment

    run(lambda: label_deployment(deployment, labels or [], target, output, by=by, reason=reason), output)


@deployment_app.command()
@speaks_to_celadon
def scale(  # noqa: PLR0913 - each is an option that a person can give
    deployment: DeploymentArgument,
    replicas: Annotated[int, typer.Argument(min=0, help="How many it shall have.", metavar="N")],
    *,
    reason: ReasonOption = "",
    by: ByOption = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until so many are live and healthy, and the others gone.")
    ] = False,
    timeout: TimeoutOption = None,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Change how many replicas a deployment has, at any moment, also while a rollout is under way.

    What is too many leaves in peace: it gets no new request and stops when its running requests have ended, or at
    the drain_timeout of its policy. Unhealthy replicas leave first, then the newest. During a rollout both colours
    follow; a green that grows is promoted once it has grown, and its delay starts anew.

    Examples:
    ```console
    celadon deployment scale chat 5 --reason "black friday" --wait --timeout 10m
    celadon deployment scale chat 0 --reason "nobody works at night"
    ```
    """
    check_timeout(timeout, wait=wait)
    from celadon.cli.deployments import Scaling, scale_deployment

    scaling = Scaling(deployment=deployment, replicas=replicas, by=by, reason=reason, wait=wait, timeout=timeout)
    run(lambda: scale_deployment(scaling, target, output), output)


@deployment_app.command()
@speaks_to_celadon
def delete(  # noqa: PLR0913 - each is an option that a person can give
    deployment: DeploymentArgument,
    *,
    abort: Annotated[
        bool,
        typer.Option("--abort", help="End the rollout under way first; refused while there is one otherwise."),
    ] = False,
    reason: ReasonOption = "",
    by: ByOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until its last replica has stopped.")] = False,
    timeout: Annotated[
        timedelta | None,
        typer.Option(
            "--timeout",
            parser=parse_duration_option,
            metavar="DURATION",
            help="With --wait or --abort: how long to wait at most; what was begun goes on.",
            show_default="no limit",
        ),
    ] = None,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Delete a deployment: its address answers 404, running requests end in peace, its replicas stop.

    Its history, audit log and revisions stay. A new rollout under the same name starts it anew, once it is destroyed.

    Examples:
    ```console
    celadon deployment delete chat --reason "replaced by chat-large"
    celadon deployment delete chat --abort --wait --timeout 20m
    ```
    """
    if timeout is not None and not (wait or abort):
        raise typer.BadParameter("it has no effect without --wait or --abort", param_hint="--timeout")
    from celadon.cli.deletion import Deletion, delete_deployment

    deletion = Deletion(deployment=deployment, by=by, reason=reason, abort=abort, wait=wait, timeout=timeout)
    run(lambda: delete_deployment(deletion, target, output), output)
