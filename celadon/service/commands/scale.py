"""Change how many replicas a deployment has."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.messages import Replicas
from celadon.domain.language.names import Epoch
from celadon.domain.language.permissions import Verb
from celadon.service.change_log import log_change
from celadon.service.command import (
    Call,
    Command,
    Form,
    Graph,
    Line,
    Notice,
    Option,
    Rest,
    Scope,
    Terminal,
    Tone,
)


class ScaleRequest(StrictModel):
    """Asks for another number of replicas."""

    replicas: Replicas
    """How many replicas the deployment is to have; 0 serves nothing."""
    reason: Reason = ""


class ScaleResult(Record):
    """The answer to a scaling."""

    deployment: str
    """The deployment's name."""
    before: int
    """Replicas that the deployment wanted until then."""
    replicas: int
    """Replicas that it wants now."""
    epoch: Epoch
    """The deployment's epoch after the change."""
    changed: bool
    """False when it wanted as many already; then nothing was written."""


async def scale(call: Call[ScaleRequest]) -> ScaleResult:
    """Let the deployment want another number of replicas."""
    from celadon.table.rollouts.scaling import ScaleOrder
    from celadon.table.rollouts.scaling import scale as scale_deployment

    author = call.service.author(call.who, call.request.reason)
    order = ScaleOrder(deployment=call.subject, replicas=call.request.replicas, **dict(author))
    async with call.service.serving(call, [Verb.SCALE]) as tx:
        scaled = await scale_deployment(tx, order)
    if scaled.changed:
        log_change(
            "scaled",
            deployment=call.subject,
            by=call.who.name,
            before=scaled.before,
            replicas=scaled.replicas,
            reason=call.request.reason,
        )
    return ScaleResult(**dict(scaled))


def _summary(result: ScaleResult) -> tuple[Line, ...]:
    if not result.changed:
        return (Line(text=f"{result.deployment} wants {result.replicas} replicas already; nothing was changed."),)
    text = f"{result.deployment}: {result.before} → {result.replicas} replicas, epoch {result.epoch}."
    if result.replicas < result.before:
        text += " Those that are too many stop when their running requests have ended."
    return (Line(text=f"{text} See: celadon deployment show {result.deployment}"),)


def _page_notice(result: ScaleResult) -> Notice:
    if not result.changed:
        return Notice(tone=Tone.DONE, text=f"It has {result.replicas} replicas already.")
    return Notice(tone=Tone.DONE, text=f"Replicas: {result.before} → {result.replicas}.")


COMMAND = Command(
    verb="scale",
    scope=Scope.DEPLOYMENT,
    place=80,
    about="Let a deployment have another number of replicas, inside a rollout or outside.",
    right=Verb.SCALE,
    request=ScaleRequest,
    result=ScaleResult,
    can_be_scheduled=True,
    run=scale,
    summary=_summary,
    page_notice=_page_notice,
    asks=lambda name, given: (
        f"{name} then serves nothing: its address answers 503. Scale to 0?" if given["replicas"] == 0 else ""
    ),
    rest=Rest(),
    graph=Graph(
        about="Let a deployment have another number of replicas.",
        about_input="Asks for another number of replicas.",
        about_payload="A deployment wants another number of replicas.",
        about_answer="What changed, or why the number of replicas stays.",
        shown={"deployment": "@deployment", "before": "before", "epoch": "epoch", "changed": "changed"},
    ),
    terminal=Terminal(
        words=("deployment", "scale"),
        wait="Wait until this many replicas are live and healthy, and the others have stopped.",
        hook="celadon.cli.scaling:scale",
        options={"replicas": Option(help="The number of replicas.", metavar="N", is_argument=True)},
        help="""Change how many replicas a deployment has, at any moment, also while a rollout is under way.

        Surplus replicas are drained: they get no new request and stop when their running requests have ended, or at
        the drain_timeout of the policy. Unhealthy replicas are drained first, then the newest. During a rollout both
        colours are scaled; a green that grows is promoted once it has grown, and its delay starts anew.

        Examples:
        ```console
        celadon deployment scale chat 5 --reason "black friday" --wait --timeout 10m
        celadon deployment scale chat 0 --reason "nobody works at night"
        ```
        """,
    ),
    form=Form(
        title="Scale",
        what="Changes how many replicas each colour has. What leaves is drained first.",
        button="Scale",
        fields=("replicas",),
        only_if=lambda state: not state.deployment.lifecycle.is_deleted,
    ),
)
