"""The lines of a program's output that say why it failed: its last traceback, else its last errors, else the end."""

import re
from collections.abc import Sequence
from typing import Final

_TRACEBACK: Final = "Traceback (most recent call last):"
_PREFIX: Final = re.compile(r"^.{0,120}?(?=Traceback \(most recent call last\):)")
"""What a logger puts before each line."""

_ERROR: Final = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL|Fatal|PANIC|panic(?:ked)?|[A-Z][A-Za-z]{0,60}(?:Error|Exception)|error(?=:)|Error(?=:))\b"
)
_LONGEST_LINE: Final = 2_000
"""Characters of a line that are looked at."""


def telling_lines(lines: Sequence[str], most: int) -> tuple[int, int]:
    """Return begin and end, as places in ``lines``, of the lines that say most of a failure.

    Of a traceback these are the last frame and the exception; ``most`` lines at most. The last lines when none is
    a traceback or an error; an exception that was raised last counts more than an error that was logged before it.
    """
    failed = _end_of_traceback(lines) or _last_error(lines)
    end = len(lines) if failed is None else failed
    return max(0, end - most), end


def _end_of_traceback(lines: Sequence[str]) -> int | None:
    """Return the place after the line with the exception of the last traceback."""
    begin = next((at for at in range(len(lines) - 1, -1, -1) if _TRACEBACK in lines[at][:_LONGEST_LINE]), None)
    if begin is None:
        return None
    before = _PREFIX.match(lines[begin])
    skipped = len(before[0]) if before else 0
    for at in range(begin + 1, len(lines)):
        line = lines[at][skipped:]
        if line and not line[0].isspace():
            return at + 1
    return len(lines)


def _last_error(lines: Sequence[str]) -> int | None:
    """Return the place after the last line that says that it is an error."""
    error_lines = (at for at in range(len(lines) - 1, -1, -1) if _ERROR.search(lines[at][:_LONGEST_LINE]))
    at = next(error_lines, None)
    return None if at is None else at + 1
