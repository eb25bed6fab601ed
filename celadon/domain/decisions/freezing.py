"""Freezes: which of them holds now, and what a rollout that waits knows of them."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from celadon.domain.decisions.standing_still import with_fewer
from celadon.domain.language.freeze import Freeze, FreezesRead
from celadon.domain.language.moments import utc
from celadon.domain.language.progress import HoldKind, Progress, Still

FREEZE_BEGINS: Final = "freeze"
FREEZE_ENDS: Final = "end of the freeze"

ASKED_AGAIN_AFTER: Final = timedelta(seconds=1)
"""So long a rollout waits at least when the table still holds it frozen: clocks of two machines differ."""


def holding_freeze(freezes: Iterable[Freeze], now: datetime) -> Freeze | None:
    """Return the freeze that holds now, the one that ends last if there are several; ``None`` when none does."""
    holding = [one for one in freezes if one.holds_at(now)]
    return max(holding, key=lambda one: (one.ends_at is None, one.ends_at or one.begins_at, -one.id), default=None)


def binding_freezes(freezes: Iterable[Freeze], *, goes_back: bool) -> tuple[Freeze, ...]:
    """Return the freezes that hold a rollout while they last; one that goes back inside its window passes most."""
    return tuple(one for one in freezes if not (goes_back and one.rollbacks))


def freeze_of_rollout(progress: Progress, now: datetime) -> Freeze | None:
    """Return the freeze that holds a rollout now, if one does; a rollback inside its window passes most of them."""
    goes_back = not progress.gated and progress.blue_set is not None
    return holding_freeze(binding_freezes(progress.freezes, goes_back=goes_back), now)


def freeze_timers(freezes: Iterable[Freeze], now: datetime) -> tuple[tuple[str, datetime], ...]:
    """Return the timer by which a rollout wakes when the next freeze begins, if one is planned."""
    begins = [one.begins_at for one in freezes if one.begins_at > now]
    return ((FREEZE_BEGINS, min(begins)),) if begins else ()


def thaw_timers(freeze: Freeze) -> tuple[tuple[str, datetime], ...]:
    """Return the one timer of a rollout that a freeze holds, if that has an end."""
    return () if freeze.ends_at is None else ((FREEZE_ENDS, freeze.ends_at),)


def told_of_freezes(progress: Progress, read: FreezesRead, now: datetime) -> Progress:
    """Return a rollout that knows what the table has read.

    What has ended counts for the deadline by the moments in the table, whenever the rollout heard of it. A switch that
    was refused for a freeze is asked for again when that has ended by what was read.
    """
    begun = tuple(one for one in read.freezes if one.begins_at <= read.at)
    over = tuple(
        Still(since=one.begins_at, until=one.ends_at)
        for one in begun
        if one.ends_at is not None and one.ends_at <= read.at
    )
    there = tuple(one for one in read.freezes if one.ends_at is None or one.ends_at > read.at)
    waited_since, stills = with_fewer(progress.waited_since, (*progress.stood_still, *over))
    hold = progress.hold
    if hold is not None and hold.kind is HoldKind.FROZEN:
        holding = holding_freeze(there, read.at)
        if holding is None:
            hold = None
        elif holding.ends_at is not None:
            hold = hold.model_copy(update={"until": max(holding.ends_at, now + ASKED_AGAIN_AFTER)})
    return progress.with_changes(
        freezes=there, freezes_read_at=read.at, waited_since=waited_since, stood_still=stills, hold=hold
    )


def freeze_told(freeze: Freeze, deployment: str, quote: Callable[[str], str] = str) -> str:
    """Return what is frozen, since when, by whom and why, until when, and who can end it, in one sentence."""
    what = "all deployments are frozen" if freeze.everywhere else "frozen"
    command = "celadon unfreeze --all" if freeze.everywhere else f"celadon unfreeze {deployment}"
    end = (
        f"until somebody ends it: {command}" if freeze.ends_at is None else f"until {utc(freeze.ends_at)}, or {command}"
    )
    return f"{what} since {utc(freeze.begins_at)}{_by(freeze, quote)}: nothing is switched {end}"


def planned_freeze_told(freeze: Freeze) -> str:
    """Return what will be frozen, from when, until when, by whom and why."""
    what = "a freeze of all deployments is" if freeze.everywhere else "a freeze is"
    end = "" if freeze.ends_at is None else f" until {utc(freeze.ends_at)}"
    return f"{what} to come from {utc(freeze.begins_at)}{end}{_by(freeze, str)}"


def _by(freeze: Freeze, quote: Callable[[str], str]) -> str:
    why = f" ({quote(freeze.reason)})" if freeze.reason else ""
    return f" by {quote(freeze.by)}{why}"
