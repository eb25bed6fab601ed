"""``promote``, ``abort`` and ``rollback``: what a person decides."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from typing import Annotated, TypeAlias

import typer

from celadon.cli.options import (
    DeploymentArgument,
    OutputOption,
    RequestIdOption,
    TimeoutOption,
    check_person_option,
    check_reason_option,
    check_timeout,
)
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target_choice import TargetChoice
from celadon.cli.targeting import speaks_to_celadon

RolloutOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--rollout",
        min=1,
        metavar="N",
        help="The rollout that you mean; refused when another one is under way.",
        show_default="the one under way",
    ),
]
ByOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="NAME",
        callback=check_person_option,
        help="Who decides; goes into the audit log.",
        show_default="whose token it is, or your login name",
    ),
]
ReasonOption: TypeAlias = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", callback=check_reason_option, help="Why; goes into the audit log."),
]
WaitOption: TypeAlias = Annotated[bool, typer.Option("--wait", help="Wait until the rollout has ended.")]


@speaks_to_celadon
def promote(  # noqa: PLR0913 - each is an option that a person can give
    deployment: DeploymentArgument,
    *,
    revision: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="The revision that you reviewed; refused when green is another one.",
            show_default="the one that waits",
        ),
    ] = None,
    rollout: RolloutOption = None,
    reason: ReasonOption = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Promote while green is still being verified; needs --reason, never overrides health."
        ),
    ] = False,
    by: ByOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    request_id: RequestIdOption = None,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Switch traffic to the green that waits, and wait until the routers have acknowledged.

    It always says which revision and which rollout it means, so that it never promotes something else that has taken
    their place meanwhile. With --wait it exits 0 only when the rollout has ended as promoted, blue gone.

    Examples:
    ```console
    celadon promote chat
    celadon promote chat --wait --timeout 1h
    celadon promote chat --revision 2 --reason "reviewed with ben"
    celadon promote chat --force --reason "r1 is down, r2 is healthy"
    ```
    """
    if force and not reason.strip():
        raise typer.BadParameter("it needs --reason, which goes into the audit log", param_hint="--force")
    check_timeout(timeout, wait=wait)
    from celadon.cli.decisions import Decision
    from celadon.cli.decisions import promote as promote_green

    decision = Decision(
        deployment=deployment,
        by=by,
        reason=reason,
        rollout=rollout,
        request_id=request_id,
        wait=wait,
        timeout=timeout,
    )
    run(lambda: promote_green(decision, revision, target, output, force=force), output)


@speaks_to_celadon
def abort(  # noqa: PLR0913 - each is an option that a person can give
    deployment: DeploymentArgument,
    *,
    rollout: RolloutOption = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    request_id: RequestIdOption = None,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """End the rollout under way without its green: before the switch green is closed, after it traffic returns to blue.

    Examples:
    ```console
    celadon abort chat
    celadon abort chat --rollout 7 --reason "wrong weights"
    ```
    """
    check_timeout(timeout, wait=wait)
    from celadon.cli.decisions import Decision
    from celadon.cli.decisions import abort as abort_rollout

    decision = Decision(
        deployment=deployment,
        by=by,
        reason=reason,
        rollout=rollout,
        request_id=request_id,
        wait=wait,
        timeout=timeout,
    )
    run(lambda: abort_rollout(decision, target, output, rollback=False), output)


@speaks_to_celadon
def rollback(  # noqa: PLR0913 - each is an option that a person can give
    deployment: DeploymentArgument,
    *,
    rollout: RolloutOption = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    request_id: RequestIdOption = None,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Return traffic to blue after the switch, while blue is still there.

    Examples:
    ```console
    celadon rollback chat --reason "p99 doubled"
    ```
    """
    check_timeout(timeout, wait=wait)
    from celadon.cli.decisions import Decision
    from celadon.cli.decisions import abort as abort_rollout

    decision = Decision(
        deployment=deployment,
        by=by,
        reason=reason,
        rollout=rollout,
        request_id=request_id,
        wait=wait,
        timeout=timeout,
    )
    run(lambda: abort_rollout(decision, target, output, rollback=True), output)
