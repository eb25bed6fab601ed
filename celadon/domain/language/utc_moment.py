"""Moments that people give in their own zone and everybody reads in UTC."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a moment is between the years 1 and 9999 in UTC, too") from error


def _has_utc(moment: datetime) -> datetime:
    """Return the moment with its own zone, when the database, which keeps UTC, can keep it."""
    _in_utc(moment)
    return moment


UtcMoment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A moment with a zone, kept in UTC."""

ZonedMoment = Annotated[AwareDatetime, AfterValidator(_has_utc)]
"""A moment with the zone that came with it: what was signed stays as it was."""
