"""What the console's forms send."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import BaseModel

from celadon.api.problems import HttpRefusal
from celadon.domain.language.payload import parse_payload
from celadon.service.command import AnyCommand

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


def request_of(command: AnyCommand, form: Mapping[str, str]) -> BaseModel:
    """Return what a form asks for.

    Raises:
        RefusedError: it asks for nothing sensible.

    """
    request: BaseModel = parse_payload(command.request, dict(_given(command.request, form)))
    return request


def _given(model: type[BaseModel], form: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    """Return the fields that a request has; a number that is none is left for the parser to refuse."""
    for name in model.model_fields:
        text = form.get(name, "").strip()
        if name == "reason" or text:
            yield name, int(text) if text.isdecimal() and name != "reason" else text
