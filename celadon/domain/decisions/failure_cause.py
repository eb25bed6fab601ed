"""What the replicas of a set have failed with, each cause once: the last answer or end, the last lines, how often."""

import re
from collections.abc import Iterable
from typing import Final

from celadon.domain.decisions.last_words import telling_lines
from celadon.domain.language.base_models import Record
from celadon.domain.language.shown_text import one_line
from celadon.domain.language.text_bounds import first_bytes, last_bytes

LONGEST_CAUSE: Final = 1_000
"""Bytes of one cause."""

LONGEST_CAUSES: Final = 2_000
"""Bytes of all causes of a set."""

_LONGEST_ERROR: Final = 600
_SHOWN_LINES: Final = 3
_MARKS: Final = " \t^~"
"""A line of these alone is blank, or marks a place in the line before it, as in Python's tracebacks."""

_SEPARATOR: Final = "; "
_NUMBERS: Final = re.compile(r"\d+")


class ReplicaFailure(Record):
    """What one replica has failed with."""

    error: str
    """What its last probe was answered, or how it ended."""
    output: str = ""
    """The last lines that it printed, with those that say why it failed."""


def are_alike(one: str, other: str) -> bool:
    """Whether two errors say the same, but for numbers: ports, moments and process ids differ by replica."""
    return _kind(one) == _kind(other)


def describe_failure(failure: ReplicaFailure, count: int = 1) -> str:
    """Return a cause in one line: the error, the printed lines that say most, and how many replicas have it."""
    times = f" (\N{MULTIPLICATION SIGN}{count})" if count > 1 else ""
    error = first_bytes(one_line(failure.error), _LONGEST_ERROR)
    lines = [line.rstrip() for line in failure.output.splitlines() if line.strip(_MARKS)]
    begin, end = telling_lines(lines, _SHOWN_LINES)
    printed = one_line(" / ".join(line.strip() for line in lines[begin:end]))
    room = LONGEST_CAUSE - len(f"{error}: {times}".encode())
    return f"{error}: {last_bytes(printed, room)}{times}" if printed else f"{error}{times}"


def describe_failures(failures: Iterable[ReplicaFailure]) -> str:
    """Return the causes of a set's failures, newest first: each once, with the newest replica's words."""
    groups: dict[str, list[ReplicaFailure]] = {}
    for failure in failures:
        groups.setdefault(_kind(failure.error), []).append(failure)
    causes = [describe_failure(group[0], len(group)) for group in groups.values()]
    return _fitting(causes)


def with_cause(reason: str, heard: str, cause: str) -> str:
    """Return why a rollout ended, with what its green's replicas have failed with, once.

    Args:
        reason: why it ended, as its workflow knows; it may have the causes that the workflow heard of.
        heard: those causes; empty when it heard of none.
        cause: the newest ones, by the table.

    """
    if not cause or cause in reason:
        return reason
    if heard and heard in reason:
        return reason.replace(heard, cause)
    return f"{reason}: {cause}" if reason else cause


def _kind(error: str) -> str:
    return _NUMBERS.sub("#", error)


def _fitting(causes: list[str]) -> str:
    """Join as many causes as there is room for, and say how many were left out."""
    text = ""
    for number, cause in enumerate(causes):
        left = len(causes) - number
        rest = f"{_SEPARATOR}and {left} other cause{'s' if left > 1 else ''}"
        longer = f"{text}{_SEPARATOR}{cause}" if text else cause
        if len(longer.encode()) + (0 if left == 1 else len(rest.encode())) > LONGEST_CAUSES:
            return f"{text}{rest}"
        text = longer
    return text
