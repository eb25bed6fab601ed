"""Rows of pauses, for who compares them with a moment and for who shows them."""

from typing import Final

from sqlalchemy import ColumnElement, exists, func, or_
from sqlalchemy.orm import InstrumentedAttribute

from celadon.table.core.models import PauseRow, Rollout

_lasts: Final = or_(PauseRow.until.is_(None), PauseRow.until > func.clock_timestamp())


def is_paused(rollout: ColumnElement[int] | InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """Return whether the timers of a rollout stand still now."""
    return exists().where(PauseRow.rollout == rollout, _lasts).correlate(Rollout)
