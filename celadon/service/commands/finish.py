"""End a bake at once."""

from typing import TYPE_CHECKING

from celadon.domain.language.commands import BakeCommand
from celadon.domain.language.contracts import FINISH
from celadon.domain.language.permissions import Verb
from celadon.service.answers import RolloutDecision
from celadon.service.command import Call, Command, Form, Line, Scope, Terminal
from celadon.service.judged import JudgedResult, ask_judged
from celadon.service.wording import see

if TYPE_CHECKING:
    from celadon.domain.language.progress import Progress


class FinishRequest(RolloutDecision):
    """Asks for the end of the bake: blue is drained, and an abort that is pending is given up."""


class FinishResult(JudgedResult):
    """The answer to an end of the bake."""


async def finish(call: Call[FinishRequest]) -> FinishResult:
    """End the bake now."""
    return await ask_judged(call, FINISH, [Verb.PROMOTE], FinishResult)


def _is_refused(progress: "Progress") -> object:
    from celadon.domain.decisions.bake import refuse_finish  # noqa: PLC0415 - declaring a command needs no decision

    return refuse_finish(progress, BakeCommand())


COMMAND = Command(
    verb="finish",
    scope=Scope.ROLLOUT,
    place=60,
    about="End the bake now: blue is drained, and an abort that is pending is given up.",
    right=Verb.PROMOTE,
    request=FinishRequest,
    result=FinishResult,
    can_be_scheduled=True,
    run=finish,
    is_refused=_is_refused,
    summary=lambda result: (
        Line(strong="The bake is finished", text=": blue gets no new request, and stops when its requests have ended."),
        see(result.deployment),
    ),
    terminal=Terminal(
        doing="Finishing the bake of",
        wait="Wait until the rollout has ended.",
        takes_id=True,
        help="""End the bake now: blue is drained, and there is no way back to it any more.

        An abort that waits for blue is given up. It takes the right to promote, since it promotes for good.

        Examples:
        ```console
        celadon finish chat --reason "a day of traffic without a complaint"
        celadon finish chat --wait --timeout 20m
        ```
        """,
    ),
    form=Form(
        title="Finish the bake",
        what="{blue} is drained now. There is no way back to it any more.",
        button="Finish the bake",
        tone="danger",
        only_if=lambda state: state.record is not None and state.record.blue_set is not None,
    ),
)
