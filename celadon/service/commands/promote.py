"""Switch traffic to the green that waits."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.commands import NamedRevision, Number, PromoteAnswer, PromoteCommand, PromoteState, Reason
from celadon.domain.language.contracts import PROMOTE
from celadon.domain.language.names import RevisionNumber
from celadon.domain.language.permissions import Verb
from celadon.domain.language.router_names import told_routers
from celadon.service.answers import SWITCH, Decided
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
from celadon.service.deciding import rollout_of, sent_command
from celadon.service.wording import see, told_switch

if TYPE_CHECKING:
    from celadon.domain.language.progress import Progress


class PromoteRequest(StrictModel):
    """Asks for the switch. What is not named is the green that waits."""

    revision: NamedRevision | None = None
    """The revision that green must be of; any other that waits is refused."""
    rollout: Number | None = None
    """The rollout that is meant; any other is refused."""
    reason: Reason = ""
    force: bool = False
    """Also before green is verified; needs a reason and the right to it."""


class PromoteResult(Decided):
    """The answer to a promotion."""

    answer: PromoteAnswer
    """What the rollout answered."""


async def promote(call: Call[PromoteRequest]) -> PromoteResult:
    """Promote the green that waits, and wait for the switch."""
    said = {"revision": call.request.revision or call.target_rollout.revision, "force": call.request.force}
    command = sent_command(call, PromoteCommand, COMMAND.rights_for(call.request), **said)
    update_id = call.service.update_id(call, PROMOTE, command.rollout)
    rollouts = await call.service.rollout_client()
    answer = await rollouts.promote(call.subject, command, request_id=update_id)
    return PromoteResult(
        deployment=call.subject,
        rollout=rollout_of(command),
        revision=None if command.revision is None else RevisionNumber(command.revision),
        by=call.who.name,
        answer=answer,
    )


def _summary(result: PromoteResult) -> tuple[Line, ...]:
    answer = result.answer
    match answer.state:
        case PromoteState.RECORDED:
            return (
                Line(strong="Recorded", text=f": {_given(answer)}. Traffic switches with the last approval."),
                see(result.deployment),
            )
        case PromoteState.GROWING:
            return (
                Line(strong="Accepted", text=f": {_grows(answer)}."),
                see(result.deployment),
            )
        case PromoteState.SWITCHED:
            return told_switch(f"Switched to green{_as_decided(result)}", answer)


def _as_decided(result: PromoteResult) -> str:
    """Return who has promoted before the caller did; empty when nobody has."""
    by = result.answer.decided_by
    return f", as {by} had decided" if by and by != result.by else ""


def _grows(answer: PromoteAnswer) -> str:
    size = "its full size" if answer.grows_to is None else f"{answer.grows_to} replicas"
    return f"green grows to {size} now, is verified again, and then traffic switches"


def _given(answer: PromoteAnswer) -> str:
    people = f" ({', '.join(answer.approved_by)})" if answer.approved_by else ""
    return f"{answer.approvals} of {answer.needed} approvals{people}"


def _page_notice(result: PromoteResult) -> Notice:
    answer = result.answer
    if answer.state is PromoteState.RECORDED:
        return Notice(tone=Tone.DONE, text=f"Your approval is recorded: {_given(answer)}.")
    if answer.state is PromoteState.GROWING:
        return Notice(tone=Tone.DONE, text=f"Your promotion is accepted: {_grows(answer)}.")
    if answer.epoch is None:
        return Notice(tone=Tone.DONE, text=f"Your promotion is {answer.state.value}.")
    switched = f"r{result.revision} is live since epoch {answer.epoch}{_as_decided(result)}"
    if answer.silent:
        silent = told_routers(answer.silent, answer.silent_count)
        return Notice(
            tone=Tone.WARN, text=f"{switched}, but routers are silent: {silent}. Blue is kept until they answer."
        )
    acknowledged = told_routers(answer.acknowledged_by, answer.acknowledged_count)
    by = f", acknowledged by {acknowledged}" if acknowledged else ""
    return Notice(tone=Tone.DONE, text=f"{switched}{by} after {answer.ms:.0f} ms.")


def _wrong(typed: Mapping[str, Any]) -> tuple[str, str] | None:
    if typed["force"] and not typed["reason"].strip():
        return "it needs --reason, which goes into the audit log", "--force"
    return None


def _is_refused(progress: "Progress") -> object:
    from celadon.domain.decisions.promotion import refuse_promotion  # noqa: PLC0415 - declaring a command needs no decision

    return refuse_promotion(progress, PromoteCommand())


COMMAND = Command(
    verb="promote",
    scope=Scope.ROLLOUT,
    place=30,
    about="Switch traffic to green now; answers when the routers serve it.",
    right=Verb.PROMOTE,
    more_rights=lambda request: (Verb.FORCE,) if request.force else (),
    request=PromoteRequest,
    result=PromoteResult,
    can_be_scheduled=True,
    run=promote,
    is_refused=_is_refused,
    summary=_summary,
    page_notice=_page_notice,
    rest=Rest(),
    graph=Graph(
        mutation="promote_deployment",
        payload="PromotePayload",
        about_input="Asks for the switch to a revision; any other that waits is refused.",
        about_payload="A promotion was accepted.",
        about_answer="How far the promotion went, or why it was refused.",
        required=frozenset({"revision"}),
        shown={
            "deployment": "@deployment",
            "rollout_id": "rollout",
            "state": "answer.state",
            "approvals": "answer.approvals",
            "approvals_needed": "answer.needed",
            "approved_by": "answer.approved_by",
            "grows_to": "answer.grows_to",
            "switch": SWITCH,
        },
    ),
    terminal=Terminal(
        doing="Promoting",
        wait="Wait until the rollout has ended.",
        takes_id=True,
        check=_wrong,
        options={
            "revision": Option(
                help="The revision that you reviewed; refused when green is another one.",
                metavar="N",
                default="the one that waits",
            ),
            "force": Option(
                help="Promote while green is still being verified; needs --reason, never overrides health.",
            ),
        },
        help="""Switch traffic to the green that waits, and wait until the routers have acknowledged.

        It always says which revision and which rollout it means, so that it never promotes another
        revision that has replaced it meanwhile. With --wait it exits 0 only when the rollout has ended as promoted, and
        blue is gone.

        Where the policy asks for approvals, each promotion is one: it is answered "recorded", with how many there are,
        and the last of them switches. Take yours back with celadon withdraw.

        Where the policy asks for a preview (preview_replicas), the promotion is answered "growing": green grows to its
        full size, is verified again, and then traffic switches without another promotion.

        Examples:
        ```console
        celadon promote chat
        celadon promote chat --wait --timeout 1h
        celadon promote chat --revision 2 --reason "reviewed with ben"
        celadon promote chat --force --reason "r1 is down, r2 is healthy"
        ```
        """,
    ),
    form=Form(title="Promote {green}", what="Traffic moves to {green} now.", button="Promote {green}", tone="primary"),
)
