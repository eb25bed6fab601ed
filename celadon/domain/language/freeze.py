"""A freeze: from one moment to another, or until somebody ends it, nothing is switched to green."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator

from celadon.domain.language.base_models import Record
from celadon.domain.language.limits import echo

_SHOWN_BYTES = 200


def _shown(reason: str) -> str:
    return echo(reason, _SHOWN_BYTES)


class Freeze(Record):
    """A freeze that holds, or that is to come, as a rollout keeps it and everybody is shown it."""

    id: int
    """Its number."""
    everywhere: bool
    """Whether it is one of all deployments."""
    begins_at: datetime
    """When it begins, or began."""
    ends_at: datetime | None
    """When it ends by itself; nothing when somebody has to end it."""
    rollbacks: bool = True
    """Whether a rollback inside its window switches all the same."""
    by: str
    """Who wanted it."""
    reason: Annotated[str, AfterValidator(_shown)] = ""
    """Why, in at most 200 bytes."""

    def holds_at(self, moment: datetime) -> bool:
        """Whether nothing may be switched at a moment."""
        return self.begins_at <= moment and (self.ends_at is None or moment < self.ends_at)


class FreezesRead(Record):
    """The freezes of a deployment as the table has them."""

    at: datetime
    """The moment, by the database's clock."""
    freezes: tuple[Freeze, ...] = ()
    """Those that hold or are to come, and those that have ended since the moment that was asked for."""
