"""At which moments a schedule fires: once, or at the minutes of a cron expression in a time zone.

A firing counts only when its moment is one of these, so that nobody who reaches Temporal lets somebody's schedule fire
at another time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST: Final = 200
"""Characters of an expression."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()
    """Names of the values from ``least`` on."""


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Timetable:
    """The minutes of a cron expression: all five fields must match the time of day in the zone."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days_of_month: frozenset[int]
    months: frozenset[int]
    days_of_week: frozenset[int]
    """0 is Sunday."""
    zone: ZoneInfo

    def has(self, moment: datetime) -> bool:
        """Whether a moment is one of the timetable's."""
        local = moment.astimezone(self.zone)
        return (
            (local.second, local.microsecond) == (0, 0)
            and local.minute in self.minutes
            and local.hour in self.hours
            and local.day in self.days_of_month
            and local.month in self.months
            and (local.weekday() + 1) % 7 in self.days_of_week
        )


def read_timetable(cron: str, zone: str) -> Timetable:
    """Read a cron expression of five fields: minute, hour, day of the month, month, day of the week.

    Fields take ``*``, numbers, English names of months and days by three letters, lists, ranges and steps. One that
    names both days of the month and of the week is refused: programs do not agree whether both must match.

    Args:
        cron: the expression, such as ``0 3 * * mon-fri``.
        zone: a name of the IANA time zone database, such as ``Europe/Berlin``.

    Raises:
        ValueError: either cannot be read; the text says why, for people.

    """
    if len(cron) > _LONGEST:
        raise ValueError(f"a cron expression has at most {_LONGEST} characters")
    parts = cron.lower().split()
    if len(parts) != len(_FIELDS):
        raise ValueError(
            "a cron expression has five fields, minute, hour, day of the month, month and day of the week, such as "
            "'0 3 * * mon-fri'",
        )
    minutes, hours, days, months, weekdays = (
        frozenset(_values(part, field)) for part, field in zip(parts, _FIELDS, strict=True)
    )
    week = frozenset(day % 7 for day in weekdays)
    if len(days) < _FIELDS[2].most and len(week) < len(_DAYS):
        raise ValueError("name days of the month or days of the week, not both; make two schedules instead")
    return Timetable(minutes, hours, days, months, week, read_zone(zone))


def read_zone(name: str) -> ZoneInfo:
    """Return a time zone of the IANA database.

    Raises:
        ValueError: there is none of this name.

    """
    try:
        return ZoneInfo(name)
    except Exception:  # noqa: BLE001 - of a wrong name: KeyError, ValueError, or an error of the file that it names
        raise ValueError("it is no time zone of the IANA database, such as Europe/Berlin") from None


def fires_at(moment: datetime, *, at: datetime | None, cron: str, zone: str) -> bool:
    """Whether a schedule fires at a moment.

    Args:
        moment: the one that is asked about.
        at: the one moment of a schedule that fires once, to the second; ``None`` for one that has a timetable.
        cron: the timetable's expression.
        zone: the timetable's zone.

    Raises:
        ValueError: the timetable cannot be read.

    """
    if at is not None:
        return moment.astimezone(UTC) == at.astimezone(UTC)
    return read_timetable(cron, zone).has(moment)


def _values(part: str, field: _Field) -> Iterator[int]:
    """Yield the values of one field; errors as above."""
    for one in part.split(","):
        span, slash, step = one.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            least, most = field.least, field.most
        else:
            least = _value(first, field)
            # As everywhere: ``5/10`` begins at 5 and goes on to the end.
            most = _value(last, field) if dash else (field.most if slash else least)
        stride = int(step) if step.isascii() and step.isdecimal() else 0
        if least > most or (slash and not 0 < stride <= field.most):
            raise ValueError(f"{_shown(one)} is no {field.name} of a cron expression")
        yield from range(least, most + 1, stride or 1)


def _value(text: str, field: _Field) -> int:
    if text in field.words:
        return field.least + field.words.index(text)
    value = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(field.most)) else -1
    if not field.least <= value <= field.most:
        raise ValueError(f"{_shown(text)} is no {field.name} of a cron expression ({field.least} to {field.most})")
    return value


def _shown(text: str) -> str:
    return repr(text[:20])
