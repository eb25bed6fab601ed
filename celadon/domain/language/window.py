"""Windows: the hours of a week in which a switch may happen, on the clock of a place.

Only their form is read here. Which zones there are, and when a window opens, is the matter of
``celadon.domain.decisions.windows``, which no workflow asks: data about zones changes with its releases, and a replay
must not depend on it.
"""

import re
from collections import Counter
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.limits import quoted

MAX_WINDOWS: Final = 20
"""How many windows a policy has at most."""

MINUTES_OF_A_DAY: Final = 24 * 60
_ZONE_BYTES: Final = 64
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d|24:00")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,3}")


class Weekday(StrEnum):
    """A day of the week; in the order of ``datetime.date.weekday``."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class AppliesTo(StrEnum):
    """Whom a window binds."""

    TIMER = "timer"
    """What the policy does by itself; a person promotes at any time."""
    EVERYONE = "everyone"
    """Timers and people; a person promotes outside of it with force alone."""


def _is_time(value: object) -> object:
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        raise ValueError(f"{quoted(value)} is no time of day: write hours and minutes in quotes, such as '09:00'")
    return value


def _is_not_the_end(value: str) -> str:
    if value == "24:00":
        raise ValueError("a window opens from '00:00' to '23:59'; only 'to' takes '24:00'")
    return value


def _is_zone(value: str) -> str:
    if len(value.encode()) > _ZONE_BYTES or _ZONE.fullmatch(value) is None:
        raise ValueError(f"{quoted(value)} is no name of a time zone, such as Europe/Berlin or UTC")
    return value


def _no_day_twice(days: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
    twice = [day.value for day, count in Counter(days).items() if count > 1]
    if twice:
        raise ValueError(f"{', '.join(twice)} is listed twice")
    return days


def _time_schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


WallTime = Annotated[str, BeforeValidator(_is_time)]
"""Hours and minutes as a clock on the wall shows them, such as ``09:00``."""


class Window(StrictModel):
    """Some hours of some days, on the clock of a place."""

    model_config = ConfigDict(serialize_by_alias=True)

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7), AfterValidator(_no_day_twice)]
    """The days on which it opens."""
    from_: Annotated[
        WallTime,
        Field(alias="from"),
        AfterValidator(_is_not_the_end),
        _time_schema(r"^([01]\d|2[0-3]):[0-5]\d$", "09:00"),
    ]
    """When it opens, such as ``09:00``, by the clock of its zone."""
    to: Annotated[WallTime, _time_schema(r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$", "17:00")]
    """When it closes, up to ``24:00``; a time before ``from`` is of the next day."""
    zone: Annotated[str, AfterValidator(_is_zone)]
    """The name of its time zone, such as ``Europe/Berlin`` or ``UTC``."""
    applies_to: AppliesTo = AppliesTo.TIMER
    """Whom it binds: ``timer``, or ``everyone``."""

    @model_validator(mode="after")
    def _lasts(self) -> "Window":
        if self.from_ == self.to:
            raise ValueError(
                f"from and to are both {self.to}; a window of a whole day is from '00:00' to '24:00'",
            )
        return self

    @property
    def opens(self) -> int:
        """Minutes from midnight to its begin."""
        return _minutes(self.from_)

    @property
    def closes(self) -> int:
        """Minutes from the midnight before its begin to its end, which may be of the next day."""
        closes = _minutes(self.to)
        return closes if closes > self.opens else closes + MINUTES_OF_A_DAY


def _minutes(wall_time: str) -> int:
    hours, minutes = wall_time.split(":")
    return int(hours) * 60 + int(minutes)


Windows = Annotated[tuple[Window, ...], Field(max_length=MAX_WINDOWS)]
