"""``deploy`` and ``rollout``: starting rollouts and looking at them."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from celadon.cli.options import (
    DeploymentArgument,
    DeploymentOption,
    OutputOption,
    RequestIdOption,
    TimeoutOption,
    YesOption,
    check_person_option,
    check_reason_option,
    check_timeout,
    parse_duration_option,
    parse_revision_option,
)
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target_choice import TargetChoice
from celadon.cli.targeting import speaks_to_celadon
from celadon.domain.language.states import RolloutOutcome, RolloutPhase

rollout_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

ReasonOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--reason",
        metavar="TEXT",
        callback=check_reason_option,
        help="Why; goes into the audit log.",
        show_default=False,
    ),
]
RequestedByOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--requested-by",
        metavar="NAME",
        callback=check_person_option,
        help="Who asks.",
        show_default="whose token it is, else the file's, else your login name",
    ),
]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the request, for example replicas=5 or policy.bake=30s. May be repeated.",
    ),
]
PlainSecretsOption: TypeAlias = Annotated[
    bool,
    typer.Option("--allow-plain-secrets", help="Allow plain values under names that look like secrets."),
]
DryRunOption: TypeAlias = Annotated[
    bool,
    typer.Option("--dry-run", help="Only say what would happen, as 'celadon plan' does; exits 1 if it were refused."),
]
RestartOption: TypeAlias = Annotated[
    bool, typer.Option("--restart", help="Roll it out once more, even if it is live, under way or waiting already.")
]
FileOption: TypeAlias = Annotated[
    Path,
    typer.Option("--file", "-f", metavar="FILE", help="The deployment file, YAML or JSON; - is standard input."),
]
PolicyOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="A policy file; what the deployment file's own policy gives wins over it."
    ),
]
WaitOption: TypeAlias = Annotated[
    bool,
    typer.Option("--wait", help="Follow the rollout to its end; exits 0 only when it was promoted."),
]

BeforeOption: TypeAlias = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Only rollouts before this one.", show_default=False)
]
LimitOption: TypeAlias = Annotated[int, typer.Option(min=1, max=100, metavar="N", help="How many at most.")]


@speaks_to_celadon
def deploy(  # noqa: PLR0913 - each is an option that a person can give
    *,
    file: FileOption,
    policy: PolicyOption = None,
    settings: SetOption = None,
    requested_by: RequestedByOption = None,
    reason: ReasonOption = None,
    allow_plain_secrets: PlainSecretsOption = False,
    dry_run: DryRunOption = False,
    restart: RestartOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    request_id: RequestIdOption = None,
    yes: YesOption = False,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Roll out what a deployment file describes.

    The rollout opens a green set, waits until it is healthy, awaits its promotion (yours, or its timer's), switches
    traffic, and drains blue. The command says what changes, and returns when the rollout has begun. Replicas that the
    file does not give stay as they are (1 for a new deployment). Nothing is started when what the file describes is
    live, under way or waiting, unless --restart is given; a repeat with the same --request-id gets the first answer.
    While another rollout is under way, policy.on_new_revision says what becomes of this one: reject refuses it, queue
    lets it wait for the other's end, and replace ends the other one for it.

    A deployment file:
    ```yaml
    deployment: chat
    replicas: 3
    revision:
      command: [python, -m, my_server, --port, "{port}"]
      env: {MODEL: llama-3-8b, TOKEN: {secret: hub-token}}
      health_check: {preset: openai, model: llama-3-8b}
    policy: {auto_promote: true, promote_after: 5m, bake: 10m}
    reason: new weights
    ```
    Examples:
    ```console
    celadon deploy -f chat.yaml
    celadon deploy -f chat.yaml --policy careful.policy.yaml
    celadon deploy -f chat.yaml --set replicas=5 --reason "more traffic"
    celadon deploy -f chat.yaml --dry-run
    celadon deploy -f chat.yaml --wait --timeout 30m
    generate-deployment | celadon deploy -f -
    ```
    """
    check_timeout(timeout, wait=wait)
    from celadon.cli.starting import Start, deploy_file

    start = Start(
        settings=tuple(settings or ()),
        requested_by=requested_by,
        reason=reason,
        allow_plain_secrets=allow_plain_secrets,
        wait=wait,
        timeout=timeout,
        request_id=request_id,
        dry_run=dry_run,
        looks_first=True,
        restart=restart,
        confirmed=yes,
    )
    run(lambda: deploy_file(file, policy, start, target, output), output)


@speaks_to_celadon
def plan(  # noqa: PLR0913 - each is an option that a person can give
    *,
    file: FileOption,
    policy: PolicyOption = None,
    settings: SetOption = None,
    requested_by: RequestedByOption = None,
    allow_plain_secrets: PlainSecretsOption = False,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Say what a rollout would do, without doing any of it.

    What differs from the revision that is live, the replicas now and while both colours run, the policy with the layer
    that each key comes from, what stands before the switch in the order in which it is asked, the earliest and the
    latest moment of the switch as far as they are known, who may decide, and why the rollout would be refused. Every
    rule of a start is asked, and nothing is written; exits 1 when the rollout would be refused.

    Examples:
    ```console
    celadon plan -f chat.yaml
    celadon plan -f chat.yaml --set replicas=5 -o json | jq .capacity_peak
    celadon plan -f chat.yaml -o json | jq '.policy[] | select(.layer != "default")'
    ```
    """
    from celadon.cli.starting import Start, deploy_file

    start = Start(
        settings=tuple(settings or ()),
        requested_by=requested_by,
        allow_plain_secrets=allow_plain_secrets,
        dry_run=True,
    )
    run(lambda: deploy_file(file, policy, start, target, output), output)


@rollout_app.command()
@speaks_to_celadon
def start(  # noqa: PLR0913 - each is an option that a person can give
    deployment: DeploymentArgument,
    *,
    revision: Annotated[
        int,
        typer.Option(parser=parse_revision_option, metavar="N", help="A revision that the deployment has had before."),
    ],
    settings: SetOption = None,
    requested_by: RequestedByOption = None,
    reason: ReasonOption = None,
    dry_run: DryRunOption = False,
    restart: RestartOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    request_id: RequestIdOption = None,
    yes: YesOption = False,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Roll out a revision that the deployment has had before.

    Examples:
    ```console
    celadon rollout history chat                # which revisions there were
    celadon rollout start chat --revision 1 --reason "r2 answers slowly"
    celadon rollout start chat --revision 1 --set policy.auto_promote=true --wait
    ```
    """
    check_timeout(timeout, wait=wait)
    from celadon.cli.starting import Start, deploy_revision

    given = Start(
        settings=tuple(settings or ()),
        requested_by=requested_by,
        reason=reason,
        wait=wait,
        timeout=timeout,
        request_id=request_id,
        dry_run=dry_run,
        restart=restart,
        confirmed=yes,
    )
    content = {"deployment": deployment, "revision": revision}
    run(lambda: deploy_revision(content, given, target, output), output)


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
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="How many of the newest of each.")] = 20,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show past rollouts and the audit log: who asked for what, through which door, why, and what came of it.

    It is read from Postgres alone, so it works without Temporal and after Temporal has deleted the workflow.

    Examples:
    ```console
    celadon rollout history chat
    celadon rollout history chat --rollout 7
    celadon rollout history chat --limit 1000 -o json
    ```
    """
    from celadon.cli.listings import show_history

    run(lambda: show_history(deployment, rollout, limit, target, output), output)
