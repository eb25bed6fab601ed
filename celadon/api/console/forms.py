"""What the console's forms send."""

import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar, get_args
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import BaseModel

from celadon.api.problems import HttpRefusal
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.payload import InvalidPayloadError, parse_payload
from celadon.service.command import AnyCommand
from celadon.service.file_places import located

ModelT = TypeVar("ModelT", bound=BaseModel)

_ANSWERS: Final = {"yes": True, "true": True, "no": False, "false": False}
_MOST_FIELDS: Final = 20
_LONGEST_FIELD: Final = 10_000
_LONGEST_FORM: Final = 128 * 1024
"""In bytes; the form to log in is read before anybody is known."""

_FORM_TYPE: Final = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form.

    Raises:
        HttpRefusal: it is none of the console's: in another form, with bytes that are not UTF-8, with too many fields,
            two of the same name, or one that is too long.

    """
    body = b""
    length = 0
    # Read to its end, so that whoever sends it can hear the answer, but not kept.
    async for chunk in request.stream():
        length += len(chunk)
        body = body + chunk if length <= _LONGEST_FORM else b""
    if length > _LONGEST_FORM:
        raise _malformed()
    kind = request.headers.get("content-type", _FORM_TYPE).partition(";")[0].strip().lower()
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        pairs = None
    if kind != _FORM_TYPE or pairs is None or not _is_sound(pairs):
        raise _malformed()
    return dict(pairs)


def _malformed() -> HttpRefusal:
    return HttpRefusal(
        HTTPStatus.BAD_REQUEST,
        "MALFORMED_FORM",
        "the form cannot be read",
        f"send '{_FORM_TYPE}' in UTF-8, at most {_MOST_FIELDS} fields of {_LONGEST_FIELD} characters, each once",
    )


def _is_sound(pairs: Sequence[tuple[str, str]]) -> bool:
    once = len({name for name, _ in pairs}) == len(pairs)
    return once and all("\0" not in name + value and len(name + value) <= _LONGEST_FIELD for name, value in pairs)


def request_of(command: AnyCommand, form: Mapping[str, str], deployment: str) -> BaseModel:
    """Return what a form on a deployment's page asks for.

    Raises:
        RefusedError: it asks for nothing sensible.

    """
    fields = dict(_given(command.request, form))
    if "deployment" in command.request.model_fields:
        fields["deployment"] = deployment
    request: BaseModel = read_as(command.request, fields)
    return request


def read_as(model: type[ModelT], typed: Mapping[str, Any]) -> ModelT:
    """Return what was typed in a form as ``model``.

    Raises:
        RefusedError: it does not parse; it says so in the words of a form.

    """
    try:
        return parse_payload(model, typed)
    except InvalidPayloadError as error:
        raise located(error, typed, "correct it in the form and send it again") from None


def _given(model: type[BaseModel], form: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    """Return the fields that a request has; what is no number, and neither yes nor no, the parser refuses."""
    for name, field in model.model_fields.items():
        text = form.get(name, "").strip()
        if bool in {field.annotation, *get_args(field.annotation)} and text.lower() in _ANSWERS:
            yield name, _ANSWERS[text.lower()]
        elif name == "reason" or text:
            yield name, int(text) if text.isdecimal() and name != "reason" else text


def policy_typed(text: str) -> dict[str, Any]:
    """Return the keys of a policy, or of a command's argument, that were typed: ``KEY=VALUE``, each on its own line.

    A value is read as JSON, and as text where it is none; ``approvals.count=2`` is a value inside of another one.

    Raises:
        RefusedError: a line names no key.

    """
    policy: dict[str, Any] = {}
    for line in (one.strip() for one in text.splitlines()):
        if not line:
            continue
        key, is_there, value = line.partition("=")
        if not (is_there and key.strip()):
            raise refuse(RefusalCode.INVALID_PAYLOAD, f"{line!r} is not KEY=VALUE", "write one KEY=VALUE on each line")
        *outer, last = key.strip().split(".")
        place = policy
        for name in outer:
            inner = place.setdefault(name, {})
            if not isinstance(inner, dict):
                raise refuse(
                    RefusalCode.INVALID_PAYLOAD, f"{key.strip()} lies inside of a value", "give one of the two"
                )
            place = inner
        place[last] = reads_as(value.strip())
    return policy


def reads_as(text: str) -> Any:  # noqa: ANN401 - any value of JSON
    """Return what a person means: a value of JSON, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
