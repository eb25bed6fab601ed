"""Bodies of REST requests: read by the one parser of everything that comes from outside."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from celadon.api.problems import HttpRefusal
from celadon.domain.language.payload import parse_payload
from celadon.service.registry import commands

ModelT = TypeVar("ModelT", bound=BaseModel)

_REFERENCE: Final = "#/components/schemas/{model}"


def body_of(model: type[ModelT], *, optional: bool = False) -> Callable[[Request], Awaitable[ModelT]]:
    """Return a dependency that reads a body as ``model``; an ``optional`` one may be left out.

    A page of another site can send a form without a question to the server; JSON it cannot, so nothing else is read.
    """

    async def read(request: Request) -> ModelT:
        raw = await request.body()
        if not raw and optional:
            return parse_payload(model, None)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HttpRefusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "NOT_JSON",
                "the body is not declared as JSON",
                "send it with 'Content-Type: application/json'",
            )
        try:
            content = json.loads(raw.decode())
        except (ValueError, RecursionError) as error:
            raise HttpRefusal(
                HTTPStatus.BAD_REQUEST,
                "NOT_JSON",
                f"the body is no JSON in UTF-8: {error}",
                "send one JSON object",
            ) from None
        return parse_payload(model, [] if content is None else content)

    return read


def described(model: type[BaseModel], *, optional: bool = False) -> dict[str, Any]:
    """Return what the OpenAPI file says of a body."""
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": not optional, "content": {"application/json": {"schema": schema}}}}


def is_optional(model: type[BaseModel]) -> bool:
    """Whether a body may be left out: nothing in it must be given."""
    return not any(field.is_required() for field in model.model_fields.values())


def body_schemas() -> dict[str, Any]:
    """Return the schemas of all bodies, for the components of the OpenAPI file."""
    bodies = dict.fromkeys(command.request for command in commands() if not command.rest.in_query)
    _, definitions = models_json_schema([(model, "validation") for model in bodies], ref_template=_REFERENCE)
    schemas: dict[str, Any] = definitions.get("$defs", {})
    return schemas
