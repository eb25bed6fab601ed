"""The one parser of everything that comes to a rollout from outside.

Handlers take ``payload: Any = None`` and call this; a typed handler would let Temporal drop or retry for ever what
does not parse.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from celadon.domain.language.base_models import (
    NUMBER_TAG,
    OBJECT_TAG,
    TEXT_TAG,
    WRITTEN_OUT_TAG,
    StrictModel,
    written_name,
)
from celadon.domain.language.error_words import what_is_wrong
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError, refuse
from celadon.domain.language.limits import ECHO_BYTES, MESSAGE_BYTES, clip, echo, quoted
from celadon.domain.language.near_names import meant_instead

ModelT = TypeVar("ModelT", bound=BaseModel)

_SHOWN_PROBLEMS = 5
_UNREADABLE: Final = (TypeError, ValueError, ArithmeticError, RecursionError, MemoryError)
"""What reading a payload may raise, whatever it holds: too deep, too large, or out of range. Any of them that left a
handler would fail the workflow's task at every attempt."""
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL character in a JSON document in ASCII."""
_TAGS = frozenset({OBJECT_TAG, NUMBER_TAG, TEXT_TAG, WRITTEN_OUT_TAG, "[key]"})
_MUST_BE: Final = "must be "
_OF_KEYS: Final = frozenset({"missing", "extra_forbidden"})
"""Errors about a key of an object, and not about its value."""
_OF_CHOICES: Final = frozenset({"enum", "literal_error"})
"""Errors about a value that is none of a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with one key."""

    location: tuple[str | int, ...]
    """Keys and numbers of elements that lead to it; empty when it is the whole."""
    what: str
    keys: tuple[str, ...] = ()
    """The keys that its object takes, when it is an unknown key."""
    near: str = ""
    """``, did you mean 'KEY'?`` when one of those is near, or one of the words that a value may be."""


class InvalidPayloadError(RefusedError):
    """A payload does not parse; ``problems`` says why, key by key."""

    def __init__(self, problems: tuple[Problem, ...], message: str, next_step: str) -> None:
        """Say it in a sentence, too."""
        super().__init__(Refusal(code=RefusalCode.INVALID_PAYLOAD, message=message, next_step=next_step))
        self.problems = problems


def parse_payload(
    model: type[ModelT],
    payload: object,
    *,
    recorded: Mapping[str, object] | None = None,
) -> ModelT:
    """Read ``payload`` (nothing, a JSON object, or an instance) as ``model``.

    Args:
        model: what it should be.
        payload: what came.
        recorded: what an earlier version, which may have taken it, did not refuse yet: a context of ``declared_text``.

    Raises:
        RefusedError: with code ``INVALID_PAYLOAD``; the message names each key that is wrong and why. It is an
            ``InvalidPayloadError`` when keys are wrong.

    """
    if isinstance(payload, model):
        return payload
    content: object = {} if payload is None else payload
    if isinstance(content, BaseModel):
        content = content.model_dump(mode="json", exclude_unset=True)
    if not isinstance(content, Mapping):
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"the input is {quoted(payload)}, not an object",
            f"send one JSON object with keys among: {_keys(model)}",
        )
    try:
        document = json.dumps(dict(content))
        if recorded is None:
            _check_size(model, document)
            _check_characters(document)
        return model.model_validate_json(document, context=recorded)
    except ValidationError as error:
        problems = _problems(model, json.loads(document), error)
        raise InvalidPayloadError(problems, _describe(problems), _next_step(model, problems)) from None
    except _UNREADABLE as error:
        raise refuse(RefusalCode.INVALID_PAYLOAD, f"the input cannot be read: {echo(str(error))}") from None


def _check_size(model: type[BaseModel], document: str) -> None:
    limit = model.most_bytes if issubclass(model, StrictModel) else MESSAGE_BYTES
    if len(document) > limit:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"the input has {len(document):,} bytes as JSON in ASCII, and at most {limit:,} are read",
            "shorten it",
        )


def _check_characters(document: str) -> None:
    if _NUL.search(document):
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            "the input holds a NUL character (U+0000), which the database keeps in no text",
            "take it out",
        )


def _keys(model: type[BaseModel]) -> str:
    return ", ".join(written_name(name, field) for name, field in model.model_fields.items())


def _problems(model: type[BaseModel], content: Mapping[str, object], error: ValidationError) -> tuple[Problem, ...]:
    """Return what is wrong with each key, once: of what a key may be otherwise nothing is said when it is not that."""
    errors = [(_location(model, content, one), one) for one in error.errors(include_url=False)]
    within = {location[:size] for location, _ in errors for size in range(len(location))}
    problems: dict[tuple[str | int, ...], Problem] = {}
    for location, one in errors:
        is_other_kind = len(location) < sum(part not in _TAGS for part in one["loc"])
        if location in within and (is_other_kind or one["type"] == "too_short"):
            continue
        problem = _problem(model, location, one)
        before = problems.get(location)
        problems[location] = problem if before is None else _both(before, problem)
    return tuple(one if one.keys else replace(one, what=f"{one.what}{one.near}") for one in problems.values())


def _both(before: Problem, other: Problem) -> Problem:
    """Return what is wrong with a value that may be one or the other."""
    return replace(before, what=_either(before.what, other.what), near=before.near or other.near)


def _either(one: str, other: str) -> str:
    """Return what is wrong with a value that may be one or the other."""
    if other in one:
        return one
    both_must = one.startswith(_MUST_BE) and other.startswith(_MUST_BE)
    return f"{one} or {other.removeprefix(_MUST_BE)}" if both_must else f"{one}; or it {other}"


def _location(model: type[BaseModel], content: Mapping[str, object], told: ErrorDetails) -> tuple[int | str, ...]:
    """Return the keys that lead to a value, without the names of the kinds that Pydantic has tried."""
    location: tuple[int | str, ...] = ()
    value: object = content
    path = told["loc"]
    for part in path[:-1] if told["type"] in _OF_KEYS else path:
        is_key = isinstance(value, Mapping) and part in value
        is_element = isinstance(value, Sequence) and isinstance(part, int)
        owner = None if is_key or is_element or part in _TAGS else _model_at(model, location)
        if is_key or is_element or (owner is not None and part in _written_names(owner)):
            location = (*location, part if isinstance(part, int) else clip(part, ECHO_BYTES))
            value = _inside(value, part)
    return (*location, clip(str(path[-1]), ECHO_BYTES)) if told["type"] in _OF_KEYS else location


def _written_names(model: type[BaseModel]) -> Collection[str]:
    return {written_name(name, field) for name, field in model.model_fields.items()}


def _inside(value: object, part: int | str) -> object:
    if isinstance(value, Mapping):
        return value.get(part)
    return value[part] if isinstance(value, Sequence) and isinstance(part, int) and part < len(value) else None


def _problem(model: type[BaseModel], location: tuple[int | str, ...], told: ErrorDetails) -> Problem:
    if told["type"] != "extra_forbidden":
        return Problem(location=location, what=what_is_wrong(told), near=_word_meant(told))
    owner = _model_at(model, location[:-1])
    if owner is not None and issubclass(owner, StrictModel) and location[-1] in owner.later_keys:
        return Problem(location=location, what="not carried out by this version, remove it")
    keys = () if owner is None else tuple(written_name(name, field) for name, field in owner.model_fields.items())
    near = meant_instead(str(location[-1]), keys)
    return Problem(location=location, what=f"unknown key{near}", keys=keys, near=near)


def _word_meant(told: ErrorDetails) -> str:
    """Return ``, did you mean 'WORD'?`` for a value that is nearly one of the words that there are."""
    if told["type"] not in _OF_CHOICES or not isinstance(told["input"], str):
        return ""
    words = re.findall(r"'([^']*)'", str(told.get("ctx", {}).get("expected", "")))
    return meant_instead(told["input"], words)


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the model of the object to which keys lead, or ``None`` when no model reads it."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        current = None if field is None else _model_in(field.annotation)
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - types are values here
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner for one in get_args(annotation) if (inner := _model_in(one)) is not None), None)


def _describe(problems: tuple[Problem, ...]) -> str:
    texts = [f"{_where(one.location)}{one.what}" for one in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        texts.append(f"and {len(problems) - _SHOWN_PROBLEMS} more")
    return "; ".join(dict.fromkeys(texts))


def _next_step(model: type[BaseModel], problems: tuple[Problem, ...]) -> str:
    nested = next((one for one in problems if one.keys and len(one.location) > 1), None)
    if nested is None:
        return f"send one JSON object with keys among: {_keys(model)}"
    return f"the keys of '{_where(nested.location[:-1]).removesuffix(': ')}' are: {', '.join(nested.keys)}"


def _where(location: tuple[int | str, ...]) -> str:
    path = ".".join(map(str, location))
    return f"{path}: " if path else ""
