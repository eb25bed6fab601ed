"""Take back one's own approval, or one's own abort that is pending."""

from typing import TYPE_CHECKING

from celadon.domain.language.commands import BakeCommand, Withdrawn
from celadon.domain.language.contracts import WITHDRAW
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import RolloutPhase
from celadon.service.answers import RolloutDecision
from celadon.service.command import Call, Command, DeploymentState, Form, Line, Scope, Terminal
from celadon.service.judged import JudgedResult, ask_judged
from celadon.service.wording import see

if TYPE_CHECKING:
    from celadon.domain.language.progress import Progress


class WithdrawRequest(RolloutDecision):
    """Asks to take back one's own approval before the switch, or after it one's own abort that waits for blue."""


class WithdrawResult(JudgedResult):
    """The answer to a withdrawal."""


async def withdraw(call: Call[WithdrawRequest]) -> WithdrawResult:
    """Take back the caller's own approval, or abort that is pending; the table judges whose it is."""
    return await ask_judged(call, WITHDRAW, [Verb.ABORT], WithdrawResult)


def _summary(result: WithdrawResult) -> tuple[Line, ...]:
    answer = result.answer
    if answer.withdrawn is Withdrawn.APPROVAL:
        done = f": your approval counts no more, {answer.approvals} of {answer.needed} are left."
    else:
        still = f"; the abort by {answer.pending_by} is still pending" if answer.pending_by else ""
        done = f": your abort is taken back, and the rollout is {answer.phase.value} as before{still}."
    return Line(strong="Withdrawn", text=done), see(result.deployment)


def _can_be_taken_back(state: DeploymentState) -> bool:
    """Whether there is an approval, or an abort that waits; whose it is, the table judges."""
    if state.phase is RolloutPhase.BAKING:
        return state.abort_pending
    return bool(state.deployment.approvals)


def _is_refused(progress: "Progress") -> object:
    from celadon.domain.decisions.bake import refuse_withdrawal  # noqa: PLC0415 - declaring a command needs no decision

    return refuse_withdrawal(progress, BakeCommand())


COMMAND = Command(
    verb="withdraw",
    scope=Scope.ROLLOUT,
    place=70,
    about="Take back your own approval, or your own abort that waits for blue.",
    right=Verb.ABORT,
    request=WithdrawRequest,
    result=WithdrawResult,
    run=withdraw,
    is_refused=_is_refused,
    summary=_summary,
    terminal=Terminal(
        doing="Withdrawing your decision on",
        wait="Wait until the rollout has ended.",
        takes_id=True,
        help="""Take back your own approval before traffic switches, or your own abort that waits for blue.

        An approval that is taken back counts no more; you can approve again. After the switch, an abort or rollback
        that waits for blue to be healthy is taken back, and the bake goes on unless others want the way back too.

        Examples:
        ```console
        celadon withdraw chat --reason "the alert was another service's"
        ```
        """,
    ),
    form=Form(
        title="Withdraw",
        what="Your approval counts no more; after the switch, your abort that waits for {blue} is taken back.",
        button="Withdraw what I decided",
        only_if=_can_be_taken_back,
    ),
)
