"""Take back an abort that is pending."""

from typing import TYPE_CHECKING

from celadon.domain.language.commands import BakeCommand
from celadon.domain.language.contracts import WITHDRAW
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import RolloutPhase
from celadon.service.answers import RolloutDecision
from celadon.service.command import Call, Command, Form, Line, Scope, Terminal
from celadon.service.judged import JudgedResult, ask_judged
from celadon.service.wording import see

if TYPE_CHECKING:
    from celadon.domain.language.progress import Progress


class WithdrawRequest(RolloutDecision):
    """Asks to take back one's own abort that waits for blue; the bake then goes on."""


class WithdrawResult(JudgedResult):
    """The answer to a withdrawal."""


async def withdraw(call: Call[WithdrawRequest]) -> WithdrawResult:
    """Take back the caller's own abort that is pending; the table judges whose it is."""
    return await ask_judged(call, WITHDRAW, Verb.ABORT, WithdrawResult)


def _is_refused(progress: "Progress") -> object:
    from celadon.domain.decisions.bake import refuse_withdrawal  # noqa: PLC0415 - declaring a command needs no decision

    return refuse_withdrawal(progress, BakeCommand())


COMMAND = Command(
    verb="withdraw",
    scope=Scope.ROLLOUT,
    place=70,
    about="Take back your own abort that waits for blue; the bake goes on.",
    right=Verb.ABORT,
    request=WithdrawRequest,
    result=WithdrawResult,
    run=withdraw,
    is_refused=_is_refused,
    told=lambda result: (
        Line(strong="Withdrawn", text=f": the rollout is {result.answer.phase.value} as before."),
        see(result.deployment),
    ),
    terminal=Terminal(
        doing="Withdrawing your abort of",
        wait="Wait until the rollout has ended.",
        takes_id=True,
        help="""Take back your own abort, or rollback, that waits for blue to be healthy; the bake goes on.

        Examples:
        ```console
        celadon withdraw chat --reason "the alert was another service's"
        ```
        """,
    ),
    form=Form(
        title="Withdraw the abort",
        what="The abort that waits for {blue} is taken back, by whoever asked for it. The bake goes on.",
        button="Withdraw the abort",
        only_if=lambda standing: standing.abort_pending and standing.phase is RolloutPhase.BAKING,
    ),
)
