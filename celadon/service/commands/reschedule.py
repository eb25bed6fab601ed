"""Give one rollout other timers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from celadon.domain.language.commands import RescheduleCommand, TakenAway
from celadon.domain.language.contracts import RESCHEDULE
from celadon.domain.language.durations import Duration
from celadon.domain.language.moments import utc
from celadon.domain.language.permissions import Verb, rights_of
from celadon.domain.language.states import RolloutPhase
from celadon.domain.language.utc_moment import UtcMoment
from celadon.service.answers import RolloutDecision
from celadon.service.command import Call, Command, DeploymentState, Form, Line, Notice, Option, Scope, Terminal, Tone
from celadon.service.judged import JudgedResult, ask_judged
from celadon.service.wording import see

if TYPE_CHECKING:
    from celadon.domain.language.progress import Progress

_KEYS = ("auto_promote", "promote_after", "promote_at", "promotion_deadline")


class RescheduleRequest(RolloutDecision):
    """Asks for other timers of one rollout before its switch; what is not given stays."""

    auto_promote: bool | None = None
    """Whether a timer promotes green; with false the delay and the moment lapse."""
    promote_after: Duration | None = None
    """The delay, counted from the moment all of green was verified."""
    promote_at: UtcMoment | None = None
    """The moment, with its zone, before which no timer promotes."""
    promotion_deadline: Duration | None = None
    """Counted from the first moment that green waited for its promotion."""
    without: Annotated[tuple[TakenAway, ...], Field(max_length=len(TakenAway))] = ()
    """Timers that it is to have no more: ``promote_at``, ``promotion_deadline``."""


class RescheduleResult(JudgedResult):
    """The answer to other timers."""


async def reschedule(call: Call[RescheduleRequest]) -> RescheduleResult:
    """Change the timers; the rollout judges the right to promote by what they then do."""
    from celadon.domain.decisions.authority import RESCHEDULE_RIGHTS  # noqa: PLC0415 - declaring needs no decision

    request = call.request
    has = rights_of(call.who.roles)
    said = {name: getattr(request, name) for name in _KEYS} | {"without": request.without or None}
    rights = [one for one in RESCHEDULE_RIGHTS if one in has]
    return await ask_judged(call, RESCHEDULE, rights, RescheduleResult, RescheduleCommand, **said)


def _is_refused(progress: "Progress") -> object:
    from celadon.domain.decisions.reschedule import refuse_reschedule  # noqa: PLC0415 - as above

    return refuse_reschedule(progress, RescheduleCommand(auto_promote=True))


def _end(result: RescheduleResult) -> str:
    answer = result.answer
    if answer.paused_since is not None:
        return "the timers stand still until the rollout is resumed"
    timers = [
        f"{what} {utc(at)}"
        for what, at in (("it promotes itself at", answer.promotes_at), ("its deadline ends at", answer.deadline_at))
        if at is not None
    ]
    if timers:
        return ", ".join(timers)
    if answer.phase is RolloutPhase.AWAITING_PROMOTION:
        return "no timer runs, a person decides"
    return "its timers begin once green is verified"


def _says_nothing(typed: Mapping[str, Any]) -> tuple[str, str] | None:
    if any(typed[name] is not None for name in _KEYS) or typed["without"]:
        return None
    return (
        "name at least one timer: --auto-promote, --promote-after, --promote-at, --promotion-deadline or --without",
        "",
    )


def _waits_for_switch(state: DeploymentState) -> bool:
    return state.record is not None and state.record.blue_set is not None


COMMAND = Command(
    verb="reschedule",
    scope=Scope.ROLLOUT,
    place=78,
    about="Change the timers of this rollout before its switch; what is not given stays.",
    right=Verb.PAUSE,
    request=RescheduleRequest,
    result=RescheduleResult,
    can_be_scheduled=True,
    run=reschedule,
    is_refused=_is_refused,
    summary=lambda result: (
        Line(strong="Rescheduled", text=f": {_end(result)}."),
        see(result.deployment),
    ),
    page_notice=lambda result: Notice(tone=Tone.DONE, text=f"Rescheduled: {_end(result)}."),
    terminal=Terminal(
        doing="Rescheduling",
        takes_id=True,
        check=_says_nothing,
        options={
            "auto_promote": Option(
                help="Whether a timer promotes green.", flag="--auto-promote/--no-auto-promote", default="as it is"
            ),
            "promote_after": Option(help="The delay after green was verified.", default="as it is"),
            "promote_at": Option(
                help="No timer promotes before this moment, such as 2026-12-01T06:00:00+01:00.",
                metavar="MOMENT",
                default="as it is",
            ),
            "promotion_deadline": Option(help="How long green may wait for its promotion.", default="as it is"),
            "without": Option(
                help="Take a timer away: promote_at or promotion_deadline. May be repeated.", metavar="TIMER"
            ),
        },
        help="""Change the timers of the rollout under way, until its switch; the deployment's policy stays.

        It takes the right to pause, and the right to promote where it lets green go live without a person, or sooner.

        Examples:
        ```console
        celadon reschedule chat --promote-after 2h --reason "ben wants to look first"
        celadon reschedule chat --auto-promote --promote-at "$(date -Iseconds -d 'tomorrow 06:00')"
        celadon reschedule chat --no-auto-promote --without promotion_deadline
        ```
        """,
    ),
    form=Form(
        title="Reschedule",
        what="Changes when a timer promotes this rollout. What you leave empty stays.",
        button="Change the timers",
        texts={
            "auto_promote": "Promote by a timer (yes or no)",
            "promote_after": "Delay after green was verified, such as 2h",
            "promote_at": "Not before, such as 2026-12-01T06:00:00+01:00",
            "promotion_deadline": "Deadline, such as 1d",
        },
        only_if=_waits_for_switch,
    ),
)
