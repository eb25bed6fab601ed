"""Words that people declare, such as who they are and why they ask, as far as they are taken.

Terminals, chats and pages show them to others, so characters that are obeyed and not shown are refused. What was
recorded before they were is read all the same, with numbers in their place.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationInfo

from celadon.domain.language.limits import ISSUER_BYTES, NAME_BYTES, REASON_BYTES
from celadon.domain.language.permissions import Verb
from celadon.domain.language.shown_text import all_lines, find_control, one_line

RECORDED: Final[Mapping[str, object]] = {"recorded": "characters that are obeyed"}
"""The context of a validation that reads what was taken before characters that are obeyed were refused."""

UNBOUNDED: Final[Mapping[str, object]] = {"recorded": "without the latest bounds"}
"""The context of a validation that reads what was taken before NUL characters, and what doors say without a bound, were
refused."""

COUNTED_IN_CHARACTERS: Final[Mapping[str, object]] = {"recorded": "counted in characters"}
"""The context of a validation that reads what was taken when limits did not count bytes yet."""


def check_person(value: str, info: ValidationInfo) -> str:
    """Return the name of a person or a program when it can be shown in a line.

    Raises:
        ValueError: it is too long, or it holds a line break, or a character that is obeyed and not shown.

    """
    _check_length(value, NAME_BYTES, "a name", info)
    character = find_control(value)
    if not character:
        return value
    if _is_recorded(info):
        return one_line(value)
    raise ValueError(f"a name has no control or invisible characters, and this one has {character}: take it out")


def check_reason(value: str, info: ValidationInfo) -> str:
    """Return a reason, which may have line breaks and tabs; those of other systems become ours.

    Raises:
        ValueError: it is too long, or it holds another character that is obeyed and not shown.

    """
    _check_length(value, REASON_BYTES, "a reason", info)
    text = value.replace("\r\n", "\n")
    character = find_control(text, prose=True)
    if not character:
        return text
    if _is_recorded(info):
        return all_lines(text)
    raise ValueError(
        f"a reason has no control or invisible characters but line breaks and tabs, and this one has {character}: "
        "take it out",
    )


def check_issuer(value: str, info: ValidationInfo) -> str:
    """Return the name of who vouches for a sender.

    Raises:
        ValueError: it is too long, or it holds a character that is obeyed and not shown.

    """
    return _check_of_door(value, ISSUER_BYTES, "an issuer", info)


def check_signature(value: str, info: ValidationInfo) -> str:
    """Return what a door has signed with.

    Raises:
        ValueError: it is too long, or it holds a character that is obeyed and not shown.

    """
    return _check_of_door(value, NAME_BYTES, "a signature", info)


def check_rights(value: tuple[Verb, ...], info: ValidationInfo) -> tuple[Verb, ...]:
    """Return the rights that a door gives.

    Raises:
        ValueError: there are more than different ones.

    """
    if len(value) > len(Verb) and info.context is None:
        raise ValueError(f"there are {len(Verb)} rights, and these are {len(value)}: name each once")
    return value


def _check_of_door(value: str, limit: int, what: str, info: ValidationInfo) -> str:
    if info.context is not None:
        return value
    _check_length(value, limit, what, info)
    character = find_control(value)
    if character:
        raise ValueError(f"{what} has no control or invisible characters, and this one has {character}: take it out")
    return value


def _check_length(value: str, limit: int, what: str, info: ValidationInfo) -> None:
    length = len(value.encode("utf-8", "replace"))
    if length > limit and info.context not in (RECORDED, COUNTED_IN_CHARACTERS):
        raise ValueError(f"{what} has at most {limit} bytes in UTF-8, and this one has {length}: shorten it")


def _is_recorded(info: ValidationInfo) -> bool:
    return info.context == RECORDED
