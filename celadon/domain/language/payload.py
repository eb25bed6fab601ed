"""The one parser of everything that comes to a rollout from outside.

Handlers take ``payload: Any = None`` and call this; a typed handler would let Temporal drop or retry for ever what
does not parse.
"""

import json
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from celadon.domain.language import policy, revision
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.limits import ECHO_BYTES, MESSAGE_BYTES, REQUEST_BYTES, clip
from celadon.domain.language.messages import NUMBER_TAG, OBJECT_TAG, RolloutRequest

ModelT = TypeVar("ModelT", bound=BaseModel)

_SHOWN_PROBLEMS = 5
_TAGS = frozenset({OBJECT_TAG, NUMBER_TAG})


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
        RefusedError: with code ``INVALID_PAYLOAD``; the message names each key that is wrong and why.

    """
    if isinstance(payload, model):
        return payload
    content: object = {} if payload is None else payload
    if isinstance(content, BaseModel):
        content = content.model_dump(mode="json", exclude_unset=True)
    if not isinstance(content, Mapping):
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"the input is {_show(payload)}, not an object",
            f"send one JSON object with keys among: {_keys(model)}",
        )
    try:
        document = json.dumps(dict(content))
        if recorded is None:
            _check_size(model, document)
        return model.model_validate_json(document, context=recorded)
    except ValidationError as error:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            _describe(error),
            f"send one JSON object with keys among: {_keys(model)}",
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise refuse(RefusalCode.INVALID_PAYLOAD, f"the input is no JSON: {error}") from None


def _check_size(model: type[BaseModel], document: str) -> None:
    limit = REQUEST_BYTES if issubclass(model, RolloutRequest) else MESSAGE_BYTES
    if len(document) > limit:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"the input has {len(document):,} bytes as JSON in ASCII, and at most {limit:,} are read",
            "shorten it",
        )


def _keys(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def _describe(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    told = [f"{_where(one['loc'])}{_what(one)}" for one in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        told.append(f"and {len(problems) - _SHOWN_PROBLEMS} more")
    return "; ".join(dict.fromkeys(told))


def _what(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        if problem["loc"][-1] in policy.LATER_KEYS | revision.LATER_KEYS:
            return "not carried out by this version, remove it"
        return "unknown key"
    return problem["msg"].removeprefix("Value error, ")


def _where(location: tuple[int | str, ...]) -> str:
    path = ".".join(clip(str(part), ECHO_BYTES) for part in location if part not in _TAGS)
    return f"{path}: " if path else ""


def _show(value: object) -> str:
    return clip(repr(value), ECHO_BYTES)
