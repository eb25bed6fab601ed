"""``rollout``: looking at rollouts; the service declares how they are started."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from datetime import timedelta
from typing import Annotated, TypeAlias

import typer

from celadon.cli.named_commands import DeclaringGroup
from celadon.cli.options import DeploymentArgument, DeploymentOption, OutputOption, parse_duration_option
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target import TargetChoice
from celadon.cli.targeting import speaks_to_celadon
from celadon.domain.language.states import RolloutOutcome, RolloutPhase

rollout_app = typer.Typer(cls=DeclaringGroup, no_args_is_help=True, rich_markup_mode="markdown")

BeforeOption: TypeAlias = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Only rollouts before this one.", show_default=False)
]
LimitOption: TypeAlias = Annotated[int, typer.Option(min=1, max=100, metavar="N", help="How many at most.")]


@rollout_app.command()
@speaks_to_celadon
def status(
    deployment: DeploymentArgument,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show how a deployment and its latest rollout stand, and what you can do next.

    Both colours with their replicas and health, which routers serve the present epoch and which are silent, running
    requests of what drains, timers, refused messages, and the last events.

    Examples:
    ```console
    celadon rollout status chat
    celadon rollout status chat -o json | jq .phase
    ```
    """
    from celadon.cli.status import show_status

    run(lambda: show_status(deployment, target, output), output)


@rollout_app.command()
@speaks_to_celadon
def watch(
    deployment: DeploymentArgument,
    target: TargetChoice,
    rollout: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The rollout to watch.", show_default="the latest"),
    ] = None,
    timeout: Annotated[
        timedelta | None,
        typer.Option(
            "--timeout",
            parser=parse_duration_option,
            metavar="DURATION",
            help="How long at most; the rollout goes on.",
            show_default="no limit",
        ),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Watch a rollout until it has ended; exits 0 only when it was promoted.

    A live tree in a terminal, a line for each change elsewhere; with -o json one object a line.

    Examples:
    ```console
    celadon rollout watch chat
    celadon rollout watch chat --timeout 1h && notify "chat is out"
    ```
    """
    from celadon.cli.watching import watch as watch_rollout

    run(lambda: watch_rollout(deployment, rollout, target, output, timeout), output)


@rollout_app.command(name="list")
@speaks_to_celadon
def list_(
    target: TargetChoice,
    *,
    deployment: DeploymentOption = None,
    before: BeforeOption = None,
    limit: LimitOption = 20,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """List rollouts of all deployments, newest first: where each stands, or how it ended.

    Examples:
    ```console
    celadon rollout list --deployment chat
    celadon rollout list --before 120 -o json | jq .next_before
    ```
    """
    from celadon.cli.listings import show_rollouts
    from celadon.table.records.rollouts import RolloutFilter

    wanted = RolloutFilter(deployments=None if deployment is None else (deployment,))
    run(lambda: show_rollouts(wanted, before, limit, target, output), output)


@rollout_app.command()
@speaks_to_celadon
def find(  # noqa: PLR0913 - each is an option that a person can give
    target: TargetChoice,
    *,
    deployment: DeploymentOption = None,
    phase: Annotated[RolloutPhase | None, typer.Option(help="Rollouts in this phase, or that ended in it.")] = None,
    outcome: Annotated[RolloutOutcome | None, typer.Option(help="Rollouts with this outcome.")] = None,
    unfinished: Annotated[
        bool | None,
        typer.Option(
            "--unfinished/--finished", help="Rollouts that are under way, or that have ended.", show_default=False
        ),
    ] = None,
    before: BeforeOption = None,
    limit: LimitOption = 20,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Find rollouts by where they stand or how they ended, newest first.

    Examples:
    ```console
    celadon rollout find --unfinished --phase awaiting_promotion
    celadon rollout find --outcome failed --limit 5
    celadon rollout find --deployment chat --before 120 -o json | jq .next_before
    ```
    """
    from celadon.cli.listings import show_rollouts
    from celadon.table.records.rollouts import RolloutFilter

    wanted = RolloutFilter(
        deployments=None if deployment is None else (deployment,),
        phase=phase,
        outcome=outcome,
        unfinished=unfinished,
    )
    run(lambda: show_rollouts(wanted, before, limit, target, output), output)


@rollout_app.command()
@speaks_to_celadon
def history(
    deployment: DeploymentArgument,
    target: TargetChoice,
    rollout: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only this rollout.", show_default="all"),
    ] = None,
    before: BeforeOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="How many of each.")] = 20,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show past rollouts and the audit log: who asked for what, through which door, why, and what came of it.

    It is read from Postgres alone, so it works without Temporal and after Temporal has deleted the workflow.

    Examples:
    ```console
    celadon rollout history chat
    celadon rollout history chat --rollout 7
    celadon rollout history chat --before 7     # what was before it
    celadon rollout history chat --limit 1000 -o json
    ```
    """
    from celadon.cli.listings import show_history

    run(
        lambda: show_history(deployment, rollout=rollout, before=before, limit=limit, target=target, output=output),
        output,
    )
