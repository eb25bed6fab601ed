"""REST operations of commands: one each, derived from its declaration."""

import inspect
import re
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Query
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

from celadon.api.bodies import body_of, described, is_optional
from celadon.api.context import Caller, ServiceOf
from celadon.domain.language.base_models import field_texts
from celadon.domain.language.names import MAX_NAME_LENGTH
from celadon.domain.language.payload import parse_payload
from celadon.service.answers import RequestId
from celadon.service.command import AnyCommand, rest_path
from celadon.service.registry import commands

_LONGEST_NAME: Final = 200
_PLACE: Final = re.compile(r"\{(\w+)\}")

Name = Annotated[str, Path(max_length=MAX_NAME_LENGTH, description="The deployment's name.")]
Key = Annotated[
    RequestId | None,
    Header(alias="Idempotency-Key", description="A repeat with the same one gets the first answer."),
]


def command_router(router: APIRouter) -> APIRouter:
    """Return the operation of each command, under the prefix and with the errors of ``router``."""
    routes = APIRouter(prefix=router.prefix, responses=router.responses, route_class=router.route_class)
    for command in commands():
        rest = command.rest
        path = rest_path(command)
        name = rest.name or command.verb
        routes.add_api_route(
            path,
            _endpoint(command, path),
            methods=[rest.method],
            name=name,
            operation_id=f"{name}{re.sub(r'[^A-Za-z0-9_]', '_', router.prefix + path)}_{rest.method.lower()}",
            description=inspect.cleandoc(rest.about or command.about),
            status_code=rest.status,
            response_model=command.result,
            openapi_extra=None if rest.in_query else described(command.request, optional=is_optional(command.request)),
        )
    return routes


def _endpoint(command: AnyCommand, path: str) -> Callable[..., Coroutine[Any, Any, BaseModel]]:
    subject = next(iter(_PLACE.findall(path)), "")
    fields = command.request.model_fields

    async def endpoint(**given: Any) -> BaseModel:  # noqa: ANN401 - the signature below says what each is
        request = given.get("order")
        if command.rest.in_query:
            request = parse_payload(command.request, {name: given[name] for name in fields})
        result: BaseModel = await given["service"].carry_out(
            command,
            given["who"],
            request,
            subject=given.get(subject, ""),
            request_id=given.get("key"),
        )
        return result

    endpoint.__signature__ = inspect.Signature(list(_parameters(command, subject)))  # type: ignore[attr-defined]
    return endpoint


def _parameters(command: AnyCommand, subject: str) -> Iterator[inspect.Parameter]:
    rest = command.rest
    yield _parameter("who", Caller)
    yield _parameter("service", ServiceOf)
    if subject:
        named = Annotated[str, Path(max_length=_LONGEST_NAME, description=rest.subject)]
        yield _parameter(subject, named if rest.subject else Name)
    if rest.in_query:
        texts = field_texts(command.request)
        for name, field in command.request.model_fields.items():
            kind = _query(field, texts[name])
            yield _parameter(name, kind, field.default)
    else:
        body = body_of(command.request, optional=is_optional(command.request))
        yield _parameter("order", Annotated[command.request, Depends(body)])
    if rest.takes_id:
        yield _parameter("key", Key, None)


def _query(field: FieldInfo, description: str) -> object:
    """Return a field as a query parameter, as bounded as it is in the request."""
    longest = next((one.max_length for one in field.metadata if hasattr(one, "max_length")), None)
    annotation: object = Annotated[field.annotation, Query(max_length=longest, description=description)]
    for one in field.metadata:
        if isinstance(one, AfterValidator):
            annotation = Annotated[annotation, one]
    return annotation


def _parameter(name: str, kind: object, default: object = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
