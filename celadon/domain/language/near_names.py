"""The name that was probably meant by one that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches

_LIKENESS = 0.6
"""How much of two names must agree, from 0 to 1; a letter too many or two that changed places are well above."""


def meant_instead(name: str, names: Iterable[str]) -> str:
    """Return ``, did you mean 'NAME'?`` for the nearest of the names that exist, or nothing when none is near."""
    near = get_close_matches(name, list(names), n=1, cutoff=_LIKENESS)
    return f", did you mean '{near[0]}'?" if near else ""
