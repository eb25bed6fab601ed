"""Pausing a rollout: every timer stands still, and runs on with what remained of it when the rollout is resumed."""

from datetime import datetime, timedelta
from typing import Final

from celadon.domain.decisions.other_rollout import refuse_other
from celadon.domain.language.commands import BakeCommand, PauseCommand
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.progress import Pause, Progress
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
    """Return a rollout whose timers stand still from ``now`` on; one that is paused already gets the new end alone."""
    known = progress.paused
    if known is not None:
        return progress.with_changes(paused=known.model_copy(update={"until": command.until}))
    pause = Pause(by=command.by, door=door, reason=command.reason, since=now, until=command.until)
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

    bakes = progress.phase is RolloutPhase.BAKING
    stood_still = now - max(progress.since, pause.since) if bakes else _NOTHING
    return progress.with_changes(
        paused=None,
        unverified_since=moved(progress.unverified_since),
        verified_since=moved(progress.verified_since),
        waited_since=moved(progress.waited_since),
        bake_stood_still=progress.bake_stood_still + stood_still,
    )


def is_over(pause: Pause | None, now: datetime) -> bool:
    """Whether a pause had an end, which has come."""
    return pause is not None and pause.until is not None and pause.until <= now


def pause_timers(pause: Pause) -> tuple[tuple[str, datetime], ...]:
    """Return the one timer of a rollout that is paused, if its pause has an end."""
    return () if pause.until is None else ((PAUSE_TIMER, pause.until),)
