"""What a rollout does next once green is live: bake with blue warm, drain blue, or switch back and drain green.

The decision is taken after each step and after each message, from the state of the rollout and from what only the
present run knows (:class:`Circumstances`).
"""

from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from celadon.domain.decisions.lost_green import may_be_given_up, rollback_timer, way_back_due
from celadon.domain.decisions.pause import pause_timers
from celadon.domain.language.base_models import Record
from celadon.domain.language.progress import AbortRequest, Progress
from celadon.domain.language.rollout_state import RolloutState, Stage
from celadon.domain.language.states import Colour, RolloutOutcome

BAKE_TIMER: Final = "bake"


class Examined(StrEnum):
    """What has to be asked before anything else can be decided."""

    MESSAGES = "messages"
    """Whether the messages count that lead to no step, such as one that finishes the bake."""
    EDGES = "edges"
    """What green's condition is, because edges of it may have been missed."""


class Awaited(StrEnum):
    """What ends a wait, beside messages of people."""

    BAKE = "bake"
    """The end of the bake."""
    CURE = "cure"
    """A change of blue, which a pending abort waits for."""
    ROUTERS = "routers"
    """The acknowledgement of the epoch by every live router."""
    DRAIN = "drain"
    """The end of the drain that runs."""


class DrainResult(StrEnum):
    """How the last drain ended that was not refused."""

    EMPTY = "empty"
    """The set is gone."""
    REOPENED = "reopened"
    """The set became live again before it was empty."""


class Circumstances(Record):
    """What the decision rests on beside the state, and what no later run takes over."""

    messages_wait: bool = False
    """Whether somebody sent a message that leads to no step, and is not judged yet."""
    edges_missed: bool = False
    """Whether edges of green's condition may have been missed."""
    cancelled: bool = False
    """Whether the workflow was cancelled in Temporal, which asks for an abort too."""
    blue_drains: bool = False
    """Whether a drain of blue runs."""
    drained: DrainResult | None = None
    """How the last drain ended; ``None`` while there was none, and when it was refused."""
    closed_because: str = ""
    """Why green was to be closed when the table answered that green is live; set in a run that was reset alone."""


class SwitchBack(Record):
    """Ask the table for the way back to blue, for the person who wants it."""

    request: AbortRequest


class Drain(Record):
    """Close a set and wait until it is empty."""

    colour: Colour
    why: str


class Examine(Record):
    """Ask an activity for what the next decision rests on."""

    what: Examined
    why: str


class Wait(Record):
    """Wait for a message or for what is awaited."""

    awaits: Awaited
    why: str
    timer: tuple[str, datetime] | None = None


class Finish(Record):
    """End the rollout."""

    outcome: RolloutOutcome
    reason: str


Decision = SwitchBack | Drain | Examine | Wait | Finish


def decide(state: RolloutState, circumstances: Circumstances, now: datetime) -> Decision:
    """Return what a rollout whose green is live, or was live, does next."""
    match state.stage:
        case Stage.GATE:
            return _when_reset(state.progress, circumstances)
        case Stage.BAKING:
            return _in_bake(state, circumstances, now)
        case Stage.DRAINING_BLUE:
            return _while_blue_drains(state, circumstances)
        case Stage.DRAINING_GREEN:
            return _while_green_drains(state, circumstances)
        case _ as unreachable:
            assert_never(unreachable)


def bake_timer(progress: Progress) -> tuple[str, datetime]:
    """Return the timer that ends the bake of a rollout that bakes."""
    return BAKE_TIMER, progress.since + progress.policy.bake + progress.bake_stood_still


def _when_reset(progress: Progress, circumstances: Circumstances) -> Decision:
    """Green is live although this run never switched: it was reset to a moment before that."""
    return _way_back(progress, circumstances) or Finish(
        outcome=RolloutOutcome.PROMOTED,
        reason=f"{circumstances.closed_because}; blue could not take over",
    )


def _in_bake(state: RolloutState, circumstances: Circumstances, now: datetime) -> Decision:
    progress = state.progress
    if progress.blue_set is None or state.epoch is None:
        return Finish(outcome=RolloutOutcome.PROMOTED, reason=state.decision)
    if may_be_given_up(progress):
        return Examine(what=Examined.MESSAGES, why="green is healthy again: look who else wants to go back")
    way_back = _way_back(progress, circumstances)
    if way_back is not None:
        return way_back
    if circumstances.cancelled:
        return Drain(colour=Colour.BLUE, why="the workflow was cancelled, and there is no way back")
    if circumstances.messages_wait:
        return _judge_messages()
    if circumstances.edges_missed:
        return Examine(what=Examined.EDGES, why="ask the keeper for green's condition")
    finished = progress.bake_is_over and progress.successor is None
    if progress.green_lost_since is not None and not finished:
        return _without_green(progress, now)
    if progress.paused is not None and not progress.bake_is_over:
        timer = next(iter(pause_timers(progress.paused)), None)
        return Wait(awaits=Awaited.BAKE, why="the rollout is paused", timer=timer)
    timer = bake_timer(progress)
    if progress.bake_is_over or timer[1] <= now:
        return Drain(colour=Colour.BLUE, why="the bake is over")
    return Wait(awaits=Awaited.BAKE, why="blue stays warm", timer=timer)


def _without_green(progress: Progress, now: datetime) -> SwitchBack | Wait:
    """While green is lost the bake does not end by itself, for blue takes the traffic; a pause stops nothing here."""
    way_back = way_back_due(progress, now)
    if way_back is not None:
        return SwitchBack(request=way_back)
    return Wait(awaits=Awaited.BAKE, why="no replica of green is healthy", timer=rollback_timer(progress))


def _while_blue_drains(state: RolloutState, circumstances: Circumstances) -> Decision:
    progress = state.progress
    promoted = Finish(outcome=RolloutOutcome.PROMOTED, reason=state.decision)
    if circumstances.blue_drains:
        if circumstances.messages_wait:
            return _judge_messages()
        if progress.abort is not None:
            return SwitchBack(request=progress.abort)
        return Wait(awaits=Awaited.DRAIN, why="blue drains")
    match circumstances.drained:
        case DrainResult.EMPTY:
            return promoted
        case DrainResult.REOPENED:
            return promoted if progress.abort is None else SwitchBack(request=progress.abort)
        case None:
            pass
        case _ as unreachable:
            assert_never(unreachable)
    if state.awaits_routers:
        return Wait(awaits=Awaited.ROUTERS, why="live routers do not serve green yet")
    return _way_back(progress, circumstances) or Drain(colour=Colour.BLUE, why="the bake is over")


def _while_green_drains(state: RolloutState, circumstances: Circumstances) -> Decision:
    if circumstances.drained is not None:
        return Finish(outcome=RolloutOutcome.ROLLED_BACK, reason=state.back_reason)
    if state.awaits_routers:
        return Wait(awaits=Awaited.ROUTERS, why="live routers do not serve blue yet")
    return Drain(colour=Colour.GREEN, why="blue is live again")


def _way_back(progress: Progress, circumstances: Circumstances) -> SwitchBack | Examine | Wait | None:
    """Carry out an abort; while one is pending, a message that gives the abort up is judged before the next attempt."""
    if progress.pending is not None and circumstances.messages_wait:
        return _judge_messages()
    if progress.abort is not None:
        return SwitchBack(request=progress.abort)
    if progress.pending is not None:
        return Wait(awaits=Awaited.CURE, why=progress.pending.why)
    return None


def _judge_messages() -> Examine:
    return Examine(what=Examined.MESSAGES, why="judge what is asked of the bake")
