"""When windows are open, as moments: what the database's moment and the data about zones make of them."""

from datetime import datetime, timedelta
from typing import Self

from celadon.domain.language.base_models import Record


class Opening(Record):
    """A span in which something may happen."""

    opens_at: datetime
    """When it begins; the moment that was asked from, when it had begun before."""
    closes_at: datetime | None
    """When it ends; nothing when no end is in sight."""


class OpeningTimes(Record):
    """The present or next openings of a policy's windows."""

    at: datetime
    """The database's moment at which they were looked up."""
    timers: Opening | None
    """For timers, from the moment at which one is due; nothing when none is in sight."""
    people: Opening | None
    """For people; nothing when none is in sight, or when no window binds them."""
    binds_people: bool
    """Whether a person's promotion waits for an opening too."""


class TimerOpening(Record):
    """The opening in which a timer that is due may switch, as a rollout keeps it."""

    due: datetime
    """When the timer is due; another moment makes this one out of date."""
    opens_at: datetime | None
    """When it begins, by the database's clock; nothing when none is in sight."""
    wakes_at: datetime | None
    """The same by the rollout's own clock, and never earlier, so that no rollout asks too early again and again."""
    closes_at: datetime | None
    """When it ends by the rollout's own clock; nothing when no end is in sight."""

    @classmethod
    def of(cls, times: OpeningTimes, due: datetime, now: datetime) -> Self:
        """Return what a rollout keeps of an answer that it got at ``now`` by its own clock."""
        opening = times.timers
        if opening is None:
            return cls(due=due, opens_at=None, wakes_at=None, closes_at=None)
        ahead = max(now - times.at, timedelta(0))
        if opening.opens_at <= times.at:
            wakes_at = min(opening.opens_at, now)
        elif due > now and opening.opens_at <= due:
            wakes_at = opening.opens_at
        else:
            wakes_at = opening.opens_at + ahead
        return cls(
            due=due,
            opens_at=opening.opens_at,
            wakes_at=wakes_at,
            closes_at=None if opening.closes_at is None else opening.closes_at + ahead,
        )

    def has_passed(self, now: datetime) -> bool:
        """Whether it has ended by the rollout's clock, so that the next one is to be looked up."""
        return self.closes_at is not None and self.closes_at <= now

    def has_begun(self, now: datetime) -> bool:
        """Whether it has begun by the rollout's clock."""
        return self.wakes_at is not None and self.wakes_at <= now
