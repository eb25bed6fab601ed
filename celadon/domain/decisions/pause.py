"""Pausing a rollout: every timer stands still, and runs on with what remained of it when the rollout is resumed."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from celadon.domain.decisions.other_rollout import refuse_other
from celadon.domain.decisions.standing_still import with_fewer
from celadon.domain.language.commands import BakeCommand, PauseCommand
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.moments import utc
from celadon.domain.language.pause import Pause
from celadon.domain.language.progress import Progress, Still
from celadon.domain.language.states import Channel, RolloutPhase

PAUSE_TIMER: Final = "pause"

_NOTHING: Final = timedelta(0)
WITH_TIMERS: Final = frozenset(
    {
        RolloutPhase.PROVISIONING,
        RolloutPhase.VERIFYING,
        RolloutPhase.AWAITING_PROMOTION,
        RolloutPhase.BAKING,
    },
)
"""The phases in which a timer runs, which a pause stops."""


def refuse_pause(progress: Progress, command: PauseCommand) -> Refusal | None:
    """Return why a rollout may not be paused now, or ``None`` when it may; one that is paused may get another end."""
    other = refuse_other(progress, command)
    if other is not None:
        return other
    no_bake = progress.phase is RolloutPhase.BAKING and (progress.bake_is_over or progress.blue_set is None)
    if progress.phase in WITH_TIMERS and not no_bake:
        return None
    return Refusal(
        code=RefusalCode.NOTHING_TO_PAUSE,
        message=f"no timer runs: the rollout is {progress.phase.value}",
        next_step=f"look at it with 'celadon rollout status {progress.deployment}'",
    )


def refuse_past_end(progress: Progress, command: PauseCommand, now: datetime) -> Refusal | None:
    """Return why a pause may not have its end, or ``None`` when the end is still to come or there is none."""
    if command.until is None or command.until > now:
        return None
    return Refusal(
        code=RefusalCode.INVALID_PAYLOAD,
        message=f"the end of the pause, {utc(command.until)}, has passed",
        next_step=f"name a moment that is to come; 'celadon resume {progress.deployment}' ends a pause at once",
    )


def refuse_resume(progress: Progress, command: BakeCommand) -> Refusal | None:
    """Return why a rollout may not be resumed, or ``None`` when it may."""
    other = refuse_other(progress, command)
    if other is not None:
        return other
    if progress.paused is not None:
        return None
    return Refusal(
        code=RefusalCode.NOT_PAUSED,
        message=f"the rollout is {progress.phase.value} and not paused",
        next_step=f"look at it with 'celadon rollout status {progress.deployment}'",
    )


def paused(progress: Progress, command: PauseCommand, door: Channel, now: datetime) -> Progress:
    """Return a rollout whose timers stand still from ``now`` on; one that is paused already gets the new end alone.

    An end that has passed by then is the present: the timers stood still until now, whatever a message says.
    """
    known, until = progress.paused, None if command.until is None else max(command.until, now)
    if known is not None:
        until_by = known.until_by if until == known.until else command.by
        return progress.with_changes(paused=known.model_copy(update={"until": until, "until_by": until_by}))
    pause = Pause(by=command.by, door=door, reason=command.reason, since=now, until=until)
    return progress.with_changes(paused=pause)


def taken_up(progress: Progress, pause: Pause | None, now: datetime) -> Progress:
    """Return a rollout that is paused as the table tells, where a run that was reset has forgotten it."""
    is_known = progress.paused is not None or pause is None or is_over(pause, now)
    if is_known or refuse_pause(progress, PauseCommand()) is not None:
        return progress
    return progress.with_changes(paused=pause)


def resumed(progress: Progress, now: datetime) -> Progress:
    """Return a rollout whose timers run on from ``now`` with what remained; one that is not paused is as it was.

    What a timer counts from moves by the time that the timer stood still: by the whole pause, or, for what happened
    while the rollout was paused, by the rest of it.
    """
    pause = progress.paused
    if pause is None:
        return progress

    def moved(moment: datetime | None) -> datetime | None:
        return None if moment is None else moment + max(now - max(moment, pause.since), _NOTHING)

    waited_since, stills = with_fewer(
        progress.waited_since, (*progress.stood_still, Still(since=pause.since, until=now))
    )
    bakes = progress.phase is RolloutPhase.BAKING
    bake_stood_still = now - max(progress.since, pause.since) if bakes else _NOTHING
    return progress.with_changes(
        paused=None,
        unverified_since=moved(progress.unverified_since),
        verified_since=moved(progress.verified_since),
        waited_since=waited_since,
        stood_still=stills,
        bake_stood_still=progress.bake_stood_still + bake_stood_still,
    )


def runs_on_from(progress: Progress) -> datetime | None:
    """Return the moment from which the timers run on whose pause has an end; ``None`` for no such pause.

    A bake that began behind the end of the pause has not stood still.
    """
    pause = progress.paused
    if pause is None or pause.until is None:
        return None
    return max(pause.until, progress.since) if progress.phase is RolloutPhase.BAKING else pause.until


def pause_told(pause: Pause, deployment: str, quote: Callable[[str], str] = str) -> str:
    """Return in one sentence who paused a rollout, since when, why and until when, and how it is resumed."""
    why = f" ({quote(pause.reason)})" if pause.reason else ""
    whose = f" (as {quote(pause.until_by)} has set it)" if pause.until_by else ""
    end = (
        f"until it is resumed{whose}: celadon resume {deployment}"
        if pause.until is None
        else f"until {utc(pause.until)}{whose}, or celadon resume {deployment}"
    )
    return f"paused since {utc(pause.since)} by {quote(pause.by)}{why}: all timers stand still {end}"


def is_over(pause: Pause | None, now: datetime) -> bool:
    """Whether a pause had an end, which has come."""
    return pause is not None and pause.until is not None and pause.until <= now


def pause_timers(pause: Pause) -> tuple[tuple[str, datetime], ...]:
    """Return the one timer of a rollout that is paused, if its pause has an end."""
    return () if pause.until is None else ((PAUSE_TIMER, pause.until),)
