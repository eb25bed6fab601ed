"""Let the timers of a paused rollout run on."""

from typing import TYPE_CHECKING

from celadon.domain.language.commands import BakeCommand
from celadon.domain.language.contracts import RESUME
from celadon.domain.language.permissions import Verb
from celadon.service.answers import RolloutDecision
from celadon.service.command import Call, Command, Form, Line, Notice, Scope, Terminal, Tone
from celadon.service.judged import JudgedResult, ask_judged
from celadon.service.wording import see

if TYPE_CHECKING:
    from celadon.domain.language.progress import Progress


class ResumeRequest(RolloutDecision):
    """Asks to let the timers of a paused rollout run on with what remained of them."""


class ResumeResult(JudgedResult):
    """The answer to a resumption."""


async def resume(call: Call[ResumeRequest]) -> ResumeResult:
    """Let the timers run on."""
    return await ask_judged(call, RESUME, [Verb.PAUSE], ResumeResult)


def _is_refused(progress: "Progress") -> object:
    from celadon.domain.decisions.pause import refuse_resume  # noqa: PLC0415 - declaring a command needs no decision

    return refuse_resume(progress, BakeCommand())


def _summary(result: ResumeResult) -> tuple[Line, ...]:
    phase = result.answer.phase.value.replace("_", " ")
    return Line(strong="Resumed", text=f": the rollout is {phase}, and its timers run on."), see(result.deployment)


COMMAND = Command(
    verb="resume",
    scope=Scope.ROLLOUT,
    place=76,
    about="Let the timers of a paused rollout run on with what remained of them.",
    right=Verb.PAUSE,
    request=ResumeRequest,
    result=ResumeResult,
    can_be_scheduled=True,
    run=resume,
    is_refused=_is_refused,
    summary=_summary,
    page_notice=lambda _: Notice(tone=Tone.DONE, text="Resumed: the timers run on with what remained of them."),
    terminal=Terminal(
        doing="Resuming",
        wait="Wait until the rollout has ended.",
        takes_id=True,
        help="""Let the timers of a paused rollout run on with what remained of them.

        Examples:
        ```console
        celadon resume chat --reason "latencies are as before"
        ```
        """,
    ),
    form=Form(
        title="Resume",
        what="All timers run on with what remained of them.",
        button="Resume the rollout",
        only_if=lambda state: state.paused,
    ),
)
