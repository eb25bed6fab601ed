"""``promote``, ``abort`` and ``rollback``: what a person decides."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from typing import Annotated, TypeAlias

import typer

from celadon.cli.options import DataDirOption, DeploymentArgument, OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run

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
    typer.Option("--by", metavar="NAME", help="Who decides; goes into the audit log.", show_default="your login name"),
]
ReasonOption: TypeAlias = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; goes into the audit log.")]
RequestIdOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--request-id",
        metavar="ID",
        help="A repeat with the same id gets the first answer.",
        show_default="a new one",
    ),
]


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
    request_id: RequestIdOption = None,
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Switch traffic to the green that waits, and wait until the routers have acknowledged.

    It always says which revision and which rollout it means, so that it never promotes something else that has taken
    their place meanwhile.

    Examples:
    ```console
    celadon promote chat
    celadon promote chat --revision 2 --reason "reviewed with ben"
    celadon promote chat --force --reason "r1 is down, r2 is healthy"
    ```
    """
    if force and not reason.strip():
        raise typer.BadParameter("it needs --reason, which goes into the audit log", param_hint="--force")
    from celadon.cli.decisions import Decision
    from celadon.cli.decisions import promote as promote_green

    decision = Decision(deployment=deployment, by=by, reason=reason, rollout=rollout, request_id=request_id)
    run(lambda: promote_green(decision, revision, data_dir, output, force=force), output)


def abort(  # noqa: PLR0913 - each is an option that a person can give
    deployment: DeploymentArgument,
    *,
    rollout: RolloutOption = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    request_id: RequestIdOption = None,
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """End the rollout under way without its green: before the switch green is closed, after it traffic returns to blue.

    Examples:
    ```console
    celadon abort chat
    celadon abort chat --rollout 7 --reason "wrong weights"
    ```
    """
    from celadon.cli.decisions import Decision
    from celadon.cli.decisions import abort as abort_rollout

    decision = Decision(deployment=deployment, by=by, reason=reason, rollout=rollout, request_id=request_id)
    run(lambda: abort_rollout(decision, data_dir, output, rollback=False), output)


def rollback(  # noqa: PLR0913 - each is an option that a person can give
    deployment: DeploymentArgument,
    *,
    rollout: RolloutOption = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    request_id: RequestIdOption = None,
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Return traffic to blue after the switch, while blue is still there.

    Examples:
    ```console
    celadon rollback chat --reason "p99 doubled"
    ```
    """
    from celadon.cli.decisions import Decision
    from celadon.cli.decisions import abort as abort_rollout

    decision = Decision(deployment=deployment, by=by, reason=reason, rollout=rollout, request_id=request_id)
    run(lambda: abort_rollout(decision, data_dir, output, rollback=True), output)
