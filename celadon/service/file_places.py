"""What a file or the command line gives, and where each key of it stands."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from celadon.domain.language.error_words import MISSING
from celadon.domain.language.errors import RefusedError, refuse
from celadon.domain.language.payload import InvalidPayloadError, Problem

Keys: TypeAlias = tuple[str | int, ...]
"""Keys and numbers of elements, from the outermost inwards."""


class Content(dict[str, object]):
    """An object that was read; equal to any other with the same keys and values."""

    def __init__(self, values: Mapping[str, object], places: Mapping[Keys, str]) -> None:
        """Take ``values``; ``places`` says of each path where it stands, such as ``chat.yaml:3``."""
        super().__init__(values)
        self.places = dict(places)


def located(error: InvalidPayloadError, content: Mapping[str, object], otherwise: str) -> RefusedError:
    """Return the refusal of what a person has written, with the file, line and key of each problem.

    Args:
        error: what is wrong.
        content: what was written; of what is no ``Content``, neither it nor an object in it, no place is known.
        otherwise: the next step, when no key is unknown.

    """
    places = _places_in(content)
    problems = _in_order(error.problems, places)
    message = "; ".join(dict.fromkeys(_told(one, places) for one in problems)) or error.refusal.message
    return refuse(error.refusal.code, message, _step(problems, otherwise))


def _in_order(problems: tuple[Problem, ...], places: Mapping[Keys, str]) -> tuple[Problem, ...]:
    """Return problems as their keys stand in the file; a key that is only written wrongly is not missing, too."""
    written, last = list(places), len(places)
    left = [one for one in problems if not (one.what == MISSING and any(_means(other, one) for other in problems))]

    def place(problem: Problem) -> int:
        lengths = range(len(problem.location), 0, -1)
        return next((written.index(keys) for size in lengths if (keys := problem.location[:size]) in places), last)

    return tuple(sorted(left, key=place))


def _means(problem: Problem, missing: Problem) -> bool:
    """Whether an unknown key is probably the missing one."""
    *above, name = missing.location or ("",)
    return problem.location[:-1] == tuple(above) and problem.near.endswith(f"'{name}'?")


def _step(problems: tuple[Problem, ...], otherwise: str) -> str:
    """Return the keys that there are for the first key with nothing near, unless each is said what was meant."""
    guessed = [bool(one.near) for one in problems]
    strange = next((one for one in problems if one.keys and not one.near), None)
    if strange is not None:
        return f"{_owner(strange)} are: {', '.join(strange.keys)}"
    return "" if all(guessed) and guessed else otherwise


def _places_in(content: Mapping[str, object]) -> Mapping[Keys, str]:
    own = content.places if isinstance(content, Content) else {}
    inner = {
        (key, *path): place
        for key, value in content.items()
        if isinstance(value, Content)
        for path, place in value.places.items()
    }
    return {**inner, **own}


def _told(problem: Problem, places: Mapping[Keys, str]) -> str:
    place = _place(problem.location, places)
    *above, last = problem.location or ("",)
    if not problem.keys:
        where = _dotted(problem.location)
        return f"{place}{where}: {problem.what}" if where else f"{place}{problem.what}"
    inside = f" in '{_dotted(above)}'" if above else ""
    return f"{place}unknown key '{last}'{inside}{problem.near}"


def _place(location: Keys, places: Mapping[Keys, str]) -> str:
    """Return where a key stands, or what it is missing in."""
    for length in range(len(location), 0, -1):
        if location[:length] in places:
            return f"{places[location[:length]]}: "
    return f"{places[()]}: " if () in places else ""


def _owner(problem: Problem) -> str:
    above = problem.location[:-1]
    return f"the keys of '{_dotted(above)}'" if above else "the keys"


def _dotted(location: Iterable[str | int]) -> str:
    return ".".join(map(str, location))
