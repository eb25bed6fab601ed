"""To which revision a rollback goes, and whether it is inside the rollback window: then it needs no gate.

The revisions that were live make a stack: a rollout that was promoted puts its revision on top, and one that went back
takes off all that came after the revision it went back to. So a revision that traffic once left backwards is no place
to go back to, until somebody rolls it out anew.
"""

from collections.abc import Iterable
from datetime import datetime

from celadon.domain.language.base_models import Record
from celadon.domain.language.durations import format_duration
from celadon.domain.language.moments import span, utc
from celadon.domain.language.names import RevisionNumber
from celadon.domain.language.policy import RollbackWindow


class Promoted(Record):
    """A rollout that was promoted and ended so, or that made live what is live now."""

    revision: RevisionNumber
    switched_at: datetime
    goes_back: bool = False
    """Whether it was a rollback."""


class Past(Record):
    """A revision that was live."""

    revision: RevisionNumber
    left_at: datetime | None = None
    """When traffic went to another revision; ``None`` of the one that is live."""


class WindowVerdict(Record):
    """Whether a rollback is inside the window."""

    is_inside: bool
    why: str
    """For people."""


def revisions_back(promoted: Iterable[Promoted], live: RevisionNumber) -> tuple[Past, ...]:
    """Return the revisions that a rollback may go back to, the one that was live last first.

    Args:
        promoted: in the order in which they switched.
        live: the revision that is live now.

    """
    stack: list[Past] = []
    were_live: set[RevisionNumber] = set()
    for rollout in promoted:
        if rollout.goes_back:
            stack = _below(stack, rollout.revision, was_live=rollout.revision in were_live)
        elif stack:
            last = stack[-1]
            left_at = last.left_at or rollout.switched_at
            stack[-1] = last.model_copy(update={"left_at": left_at})
        stack.append(Past(revision=rollout.revision))
        were_live.add(rollout.revision)
    seen = {live}
    back: list[Past] = []
    for past in reversed(stack):
        if past.revision not in seen:
            seen.add(past.revision)
            back.append(past)
    return tuple(back)


def _below(stack: list[Past], revision: RevisionNumber, *, was_live: bool) -> list[Past]:
    """Return what lies below a revision that a rollback went to."""
    known = next((past for past in reversed(stack) if past.revision == revision), None)
    if known is not None:
        return stack[: stack.index(known)]
    # Somebody named a revision that was taken back before, or one from before all that is remembered.
    return stack[:-1] if was_live else []


def judge_window(
    back: tuple[Past, ...], revision: RevisionNumber, window: RollbackWindow, now: datetime
) -> WindowVerdict:
    """Return whether a rollback to ``revision`` is inside the window.

    Args:
        back: what :func:`revisions_back` has returned.
        revision: where the rollback goes.
        window: of the policy.
        now: the moment by the database's clock.

    """
    place = next((number for number, past in enumerate(back, 1) if past.revision == revision), None)
    if place is None:
        return _outside(f"r{revision} was not live before, or traffic was taken back from it since")
    left_at = back[place - 1].left_at
    if place > window.revisions:
        return _outside(f"r{revision} is {_steps(place)} back, and the window is {_steps(window.revisions)}")
    if left_at is None or now - left_at > window.age:
        since = "an unknown moment" if left_at is None else f"{utc(left_at)}, {span(now - left_at)} ago"
        return _outside(f"traffic left r{revision} at {since}, and the window is {format_duration(window.age)}")
    where = f"r{revision} is {_steps(place)} back, and traffic left it {span(now - left_at)} ago"
    return WindowVerdict(
        is_inside=True, why=f"inside the rollback window: {where}; no gate, green must only be healthy"
    )


def _outside(why: str) -> WindowVerdict:
    return WindowVerdict(is_inside=False, why=f"outside the rollback window: {why}; the ordinary gate applies")


def _steps(count: int) -> str:
    return "1 revision" if count == 1 else f"{count} revisions"
