"""How many routers an answer names: there may be thousands, and Temporal bounds each answer of a step."""

from collections.abc import Sequence
from typing import Final

MOST_NAMED: Final = 20
"""Routers that one answer names; it counts the others."""


def first_routers(names: Sequence[str]) -> tuple[str, ...]:
    """Return the routers that an answer names."""
    return tuple(names[:MOST_NAMED])


def told_routers(names: Sequence[str], count: int = 0) -> str:
    """Return routers as a sentence names them: the first ones, and how many there are beside these.

    Args:
        names: all of them, or the first ones.
        count: how many there are; the answers of earlier versions have no such number, and all names.

    """
    others = max(count, len(names)) - len(names[:MOST_NAMED])
    return ", ".join(names[:MOST_NAMED]) + (f" and {others} more" if others else "")
