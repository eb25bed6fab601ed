"""Moments and spans as people read them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from celadon.domain.language.durations import format_duration

_TENTHS_BELOW: Final = timedelta(seconds=10)
_SECONDS_BELOW: Final = timedelta(hours=1)
_MINUTES_BELOW: Final = timedelta(days=1)


def span(value: timedelta) -> str:
    """Write a span as exactly as its length deserves: ``2.5s``, ``4m12s``, ``3h20m``, ``2d4h``."""
    value = max(value, timedelta(0))
    if value < _TENTHS_BELOW:
        return format_duration(timedelta(seconds=round(value.total_seconds(), 1)))
    if value < _SECONDS_BELOW:
        return format_duration(timedelta(seconds=round(value.total_seconds())))
    step = timedelta(minutes=1) if value < _MINUTES_BELOW else timedelta(hours=1)
    return format_duration(value // step * step)


def moment(value: datetime | None) -> str:
    """Write a moment in UTC to the second; a dash for none."""
    return "-" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def utc(value: datetime) -> str:
    """Write a moment to the second with its zone, for a sentence: ``2026-12-01 03:00:00 UTC``."""
    return f"{moment(value)} UTC"


def clock(value: datetime) -> str:
    """Write a moment of today in UTC."""
    return f"{value.astimezone(UTC):%H:%M:%S}"
