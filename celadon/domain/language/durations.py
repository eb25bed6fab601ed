"""Durations as people write them: ``30s``, ``5m``, ``1h30m``, ``500ms``, ``PT5M`` or a number of seconds."""

import contextlib
import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, TypeAdapter, ValidationError, WithJsonSchema

from celadon.domain.language.limits import quoted

_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SHORT = re.compile(r"-?(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_SECONDS = re.compile(r"-?\d+(?:\.\d+)?")
_ISO = re.compile(r"[+-]?P")
LONGEST: Final = timedelta(days=3650)
"""The longest duration that is taken, and how far ahead a moment may be."""
_iso: TypeAdapter[timedelta] = TypeAdapter(timedelta)


def parse_duration(value: object) -> timedelta:
    """Read a duration.

    Raises:
        ValueError: the value is no duration; the text says which forms are.

    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_seconds(value)
    if isinstance(value, str):
        text = value.strip()
        if _SHORT.fullmatch(text):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
            return _from_seconds(-seconds if text.startswith("-") else seconds)
        if _SECONDS.fullmatch(text):
            return _from_seconds(float(text))
        if _ISO.match(text):
            with contextlib.suppress(ValidationError):
                return _iso.validate_python(text)
    raise ValueError(f"{quoted(value)} is no duration: write 30s, 5m, 1h30m, PT5M or a number of seconds")


def format_duration(value: timedelta) -> str:
    """Write a duration the short way, to the millisecond: ``1h30m``, ``5m``, ``2.5s``, ``0s``."""
    milliseconds = round(value.total_seconds() * 1000)
    sign, milliseconds = ("-", -milliseconds) if milliseconds < 0 else ("", milliseconds)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{amount}{unit}" for amount, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if amount]
    if rest or not parts:
        parts.append(f"{rest / 1000:g}s")
    return sign + "".join(parts)


def _from_seconds(seconds: float) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"that many seconds are no duration, it is at most {format_duration(LONGEST)}") from error


def _check_range(value: timedelta) -> timedelta:
    """Return ``value`` to the millisecond, as JSON carries it, so that what passed here passes everywhere."""
    value = timedelta(milliseconds=round(value / timedelta(milliseconds=1)))
    if value < timedelta(0):
        raise ValueError(f"a duration is never negative, this one is {format_duration(value)}")
    if value > LONGEST:
        raise ValueError(f"a duration is at most {format_duration(LONGEST)}, this one is {format_duration(value)}")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    AfterValidator(_check_range),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^((\d+(\.\d+)?(ms|[dhms]))+|\d+(\.\d+)?|P.+)$"},
                {"type": "number", "minimum": 0, "maximum": LONGEST.total_seconds()},
            ],
            "examples": ["30s", "5m", "1h30m", "PT5M", 90],
        },
        mode="validation",
    ),
    WithJsonSchema({"type": "string", "examples": ["30s", "5m", "1h30m"]}, mode="serialization"),
]
"""A span of time that is not negative; written the short way in JSON."""


Span = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["30s", "5m", "1h30m"]}),
]
"""A span of time that Celadon has computed, however long; written as a duration is."""
