"""Let all timers of a rollout stand still."""

from typing import TYPE_CHECKING

from celadon.domain.language.commands import PauseCommand
from celadon.domain.language.contracts import PAUSE
from celadon.domain.language.moments import utc
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import RolloutPhase
from celadon.domain.language.utc_moment import UtcMoment
from celadon.service.answers import RolloutDecision
from celadon.service.command import Call, Command, DeploymentState, Form, Line, Notice, Option, Scope, Terminal, Tone
from celadon.service.judged import JudgedResult, ask_judged
from celadon.service.wording import see

if TYPE_CHECKING:
    from celadon.domain.language.progress import Progress


class PauseRequest(RolloutDecision):
    """Asks to let all timers of a rollout stand still; a person's promotion and an abort still work."""

    until: UtcMoment | None = None
    """When the timers run on by themselves, with the zone; when not given, once the rollout is resumed."""


class PauseResult(JudgedResult):
    """The answer to a pause."""


async def pause(call: Call[PauseRequest]) -> PauseResult:
    """Let all timers stand still."""
    return await ask_judged(call, PAUSE, [Verb.PAUSE], PauseResult, PauseCommand, until=call.request.until)


def _is_refused(progress: "Progress") -> object:
    from celadon.domain.decisions.pause import refuse_pause  # noqa: PLC0415 - declaring a command needs no decision

    return refuse_pause(progress, PauseCommand())


def _has_timers(state: DeploymentState) -> bool:
    """Whether a timer runs; without blue there is nothing to bake for."""
    bakes_for_nothing = state.record is None or state.record.blue_set is None
    return not state.paused and not (state.phase is RolloutPhase.BAKING and bakes_for_nothing)


def _end(result: PauseResult) -> str:
    until = result.answer.paused_until
    return "until it is resumed" if until is None else f"until {utc(until)}"


COMMAND = Command(
    verb="pause",
    scope=Scope.ROLLOUT,
    place=75,
    about="Let all timers stand still; a person's promotion and an abort still work.",
    right=Verb.PAUSE,
    request=PauseRequest,
    result=PauseResult,
    can_be_scheduled=True,
    run=pause,
    is_refused=_is_refused,
    summary=lambda result: (
        Line(strong="Paused", text=f": all timers stand still {_end(result)}."),
        Line(text=f"Resume it with: celadon resume {result.deployment}"),
        see(result.deployment),
    ),
    page_notice=lambda result: Notice(tone=Tone.DONE, text=f"Paused: all timers stand still {_end(result)}."),
    terminal=Terminal(
        doing="Pausing",
        takes_id=True,
        options={
            "until": Option(
                help="When the timers run on by themselves, such as 2026-12-01T06:00:00+01:00.",
                metavar="MOMENT",
                default="once it is resumed",
            ),
        },
        help="""Let all timers of the rollout stand still: deadlines, automatic promotion, and the end of the bake.

        What remained of each timer remains until the rollout is resumed. A promotion by a person and an abort still
        work. A rollout that is paused already gets the new end.

        Examples:
        ```console
        celadon pause chat --reason "ben looks at the latencies"
        celadon pause chat --until "$(date -Iseconds -d 'tomorrow 06:00')"
        ```
        """,
    ),
    form=Form(
        title="Pause",
        what="All timers stand still until the rollout is resumed. You can still promote or abort it.",
        button="Pause the rollout",
        only_if=_has_timers,
    ),
)
