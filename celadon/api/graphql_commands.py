"""GraphQL mutations of commands, derived from their declarations; a refusal is an answer of the type ``Refused``."""

import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from functools import cache
from types import NoneType
from typing import Annotated, Any, Final, NewType, Union, get_args, get_origin, get_type_hints

import strawberry
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from celadon.api.graphql_mapper import PLAIN, Mapped, is_moment, mapped, without_none
from celadon.api.graphql_pages import ContextInfo
from celadon.api.graphql_types import Deployment, Refused, Rollout
from celadon.domain.language.base_models import StrictModel, field_texts
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.names import revision_number
from celadon.domain.language.payload import parse_payload
from celadon.service.answers import RequestId
from celadon.service.command import AnyCommand, Graph, mutation_name
from celadon.service.door_words import Door, answer_at
from celadon.service.registry import commands
from celadon.service.views.rollout import read_rollout

_AFTER: Final = "The deployment as it is after that"
_NOBODY: Final = "nothing while no worker has taken"
_OBJECTS: Final[Mapping[str, tuple[Any, str]]] = {
    "@deployment": (Deployment, f"{_AFTER}."),
    "@deployment?": (Deployment | None, f"{_AFTER}; {_NOBODY} the rollout up."),
    "@rollout?": (Rollout | None, f"The rollout; {_NOBODY} it up."),
}
"""What stands in a payload for a record of the table, with its type and its description."""

_NUMBERED: Final = "rollout"
"""A number that GraphQL shows as the id of something else."""

_LABELS: Final = "labels"
"""A mapping that GraphQL shows as a list of pairs."""

NamedRevision = NewType("NamedRevision", object)
"""What an input takes for a revision, of any type: the one parser refuses in words what names none."""
SCALARS: Final[Mapping[object, Any]] = {
    NamedRevision: strawberry.scalar(
        name="NamedRevision",
        description="A revision by its number, such as 2, or by its name, such as ``r2``.",
        parse_value=lambda value: value,
    )
}
"""The scalars of the inputs, beside GraphQL's own."""


class _WithRequestId(StrictModel):
    request_id: RequestId


@strawberry.input
class LabelInput:
    """A label."""

    name: str
    """The label's name, such as ``team``."""
    value: str
    """The label's value, such as ``search``."""


@cache
def mutation_type() -> type:
    """Return the type ``Mutation``, with a field for each command."""
    _MADE.clear()
    fields = {
        mutation_name(command): strawberry.mutation(_resolver(command), description=_about(command))
        for command in commands()
    }
    about = "What can be changed. Each answers with what happened, or with ``Refused``."
    made: type = strawberry.type(type("Mutation", (), {"__doc__": about, "__annotations__": {}, **fields}))
    return made


def _resolver(command: AnyCommand) -> Callable[..., Coroutine[Any, Any, object]]:
    given_type: Any = _input(command)
    payload: Any = _payload(command)

    async def resolve(self: object, info: ContextInfo, input: Any) -> object:  # noqa: A002, ANN401, ARG001 - the schema's
        try:
            subject, request, request_id = _read(command, input)
            result = await info.context.service.carry_out(
                command,
                info.context.who,
                request,
                subject=subject,
                request_id=request_id,
            )
            return await _shown(info, payload, _places(command), result)
        except RefusedError as error:
            return Refused.of(error.refusal)

    about = command.graph.about_answer or f"{_sentence(command.result)}, or why not."
    name = command.graph.answer or f"{_camel(command)}Answer"
    answer = Annotated[Union[payload, Refused], strawberry.union(name, description=about)]  # noqa: UP007 - of values
    kinds = {"self": object, "info": ContextInfo, "input": given_type}
    places = [
        inspect.Parameter(one, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind) for one, kind in kinds.items()
    ]
    resolve.__signature__ = inspect.Signature(places, return_annotation=answer)  # type: ignore[attr-defined]
    resolve.__annotations__ = {**kinds, "return": answer}
    return resolve


# Inputs.


def _input(command: AnyCommand) -> type:
    graph = command.graph
    about = graph.about_input or _about_model(command.request)
    fields: list[tuple[str, Any, Any]] = []
    if subject := _subject(command):
        fields.append((f"{subject}_id", strawberry.ID, _field(graph.about_subject)))
    model = graph.model or command.request
    for name, field in model.model_fields.items():
        shown = _name(graph, name)
        special = _given_labels if name == _LABELS else _given
        kind = strawberry.ID | None if name == _NUMBERED else mapped(field.annotation, special).kind
        description = _description(model, name) or _description(command.request, name)
        if field.is_required():
            fields.append((shown, kind, _field(description)))
        elif name in graph.required:
            fields.append((shown, without_none(kind), _field(description)))
        else:
            fields.append((shown, _optional(kind, field), _field(description, field)))
    if command.rest.takes_id:
        description = _description(_WithRequestId, "request_id")
        fields.append(("request_id", str | None, strawberry.field(default=None, description=description)))
    return _type(graph.input or f"{_camel(command)}Input", tuple(fields), about, strawberry.input)


def _read(command: AnyCommand, given: Any) -> tuple[str, BaseModel, str | None]:  # noqa: ANN401 - a type made above
    """Return what an input is about, the request that it makes, and its id.

    Raises:
        RefusedError: it does not parse.

    """
    graph = command.graph
    subject = str(getattr(given, f"{_subject(command)}_id")) if _subject(command) else ""
    model = graph.model or command.request
    said: dict[str, object] = {}
    for name, field in model.model_fields.items():
        value = getattr(given, _name(graph, name))
        if value is None and not field.is_required():
            continue
        if name == _NUMBERED:
            value = number_of(value)
        elif name == _LABELS and isinstance(value, list):
            value = {one.name: one.value for one in value}
        said[name] = value
    request = parse_payload(command.request, said if graph.read is None else graph.read(subject, said))
    request_id: str | None = getattr(given, "request_id", None)
    if request_id is not None:
        request_id = parse_payload(_WithRequestId, {"request_id": request_id}).request_id
    return ("" if graph.read is not None else subject), request, request_id


def number_of(given: strawberry.ID) -> int:
    """Return the number of a rollout.

    Raises:
        RefusedError: it is none.

    """
    text = str(given)
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**31):
        raise refuse(RefusalCode.NO_SUCH_ROLLOUT, f"{text!r} is no rollout's id", "list them with 'rollouts'")
    return int(text)


# Payloads.


def _places(command: AnyCommand) -> Mapping[str, Any]:
    """Return where each field of a payload stands in the result."""
    return command.graph.shown or dict(_all_of(command.result))


def _all_of(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, str]]:
    """Show all of a result, what stands inside of its answer too."""
    for name, field in model.model_fields.items():
        kind = without_none(field.annotation)
        if name == "deployment":
            yield name, "@deployment"
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _all_of(kind, f"{before}{name}.")
        else:
            yield (f"{name}_id" if name == _NUMBERED else name), f"{before}{name}"


def _payload(command: AnyCommand) -> type:
    graph = command.graph
    about = graph.about_payload or _about_model(command.result)
    return _shown_type(graph.payload or f"{_camel(command)}Payload", command.result, _places(command), about)


def _shown_type(name: str, model: type[BaseModel], places: Mapping[str, Any], about: str) -> type:
    fields: list[tuple[str, Any, Any]] = []
    for shown, place in places.items():
        if isinstance(place, tuple):
            nested, inner = place
            kind: Any = _shown_type(nested, model, inner, "What a switch of traffic came to.")
            fields.append((shown, kind, _field("How far traffic and routers went while the caller waited.")))
        elif place in _OBJECTS:
            kind, description = _OBJECTS[place]
            fields.append((shown, kind, _field(description)))
        else:
            kind, description = _at(model, place)
            if shown.endswith("_id") and not shown.startswith(("workflow", "run")):
                kind = strawberry.ID | None if NoneType in get_args(kind) else strawberry.ID
            fields.append((shown, kind, _field(description)))
    return _type(name, tuple(fields), about, strawberry.type)


def _at(model: type[BaseModel], place: str) -> tuple[Any, str]:
    """Return the type and the description of what stands at a place of a model."""
    *outer, name = place.split(".")
    for one in outer:
        inner: Any = model.model_fields[one].annotation
        model = inner
    if name in model.model_fields:
        return mapped(model.model_fields[name].annotation).kind, _description(model, name)
    member = getattr(model, name)
    return get_type_hints(member.fget)["return"], inspect.cleandoc(member.__doc__ or "")


async def _shown(info: ContextInfo, kind: type, places: Mapping[str, Any], result: Any) -> object:  # noqa: ANN401 - any model
    values: dict[str, object] = {}
    for name, place in places.items():
        if isinstance(place, tuple):
            nested = kind.__annotations__[name]
            values[name] = await _shown(info, nested, place[1], result)
        elif place in _OBJECTS:
            values[name] = await _object(info, place, result)
        else:
            value: Any = result
            for one in place.split("."):
                value = getattr(value, one)
            is_id = strawberry.ID in {kind.__annotations__[name], *get_args(kind.__annotations__[name])}
            plain = answer_at(Door.GRAPHQL, {place.rpartition(".")[2]: _plain(value)})
            values[name] = strawberry.ID(str(value)) if is_id and value is not None else next(iter(plain.values()))
    return kind(**values)


async def _object(info: ContextInfo, place: str, result: Any) -> object:  # noqa: ANN401 - any model
    """Return a deployment or a rollout as it is after a command."""
    if place.endswith("?") and result.rollout is None:
        return None
    if place == "@rollout?":
        return Rollout.of(await read_rollout(info.context.service, info.context.who, result.rollout))
    info.context.renew()
    line = await info.context.loaders.lines.load(result.deployment)
    if line is not None:
        return Deployment.of(line)
    if place.endswith("?"):
        return None
    raise refuse(
        RefusalCode.DEPLOYMENT_DELETED,
        f"it was done, but deployment {result.deployment} has been destroyed meanwhile",
        "nothing is left to be done",
    )


def _plain(value: Any) -> object:  # noqa: ANN401 - any value of a model
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value) if isinstance(value, timedelta) else value


# Types.


_MADE: Final[dict[str, type]] = {}
"""Types of the schema that is being made, by name: several commands share some."""


def _type(name: str, fields: tuple[tuple[str, Any, Any], ...], about: str, kind: Callable[[type], type]) -> type:
    """Return the type of a name, made once.

    Raises:
        TypeError: another command has a type of this name with other fields.

    """
    hints = {one: hint for one, hint, _ in fields}
    if name not in _MADE:
        space: dict[str, Any] = {"__doc__": about, "__annotations__": dict(hints), "__module__": __name__}
        _MADE[name] = kind(type(name, (), space | {one: field for one, _, field in fields}))
    if _MADE[name].__annotations__ != hints:
        raise TypeError(f"two commands have a type {name} with different fields")
    return _MADE[name]


def _field(about: str, field: FieldInfo | None = None) -> Any:  # noqa: ANN401 - Strawberry says no more of it
    if field is None:
        return strawberry.field(description=about)
    if field.default_factory is not None:
        return strawberry.field(default_factory=list, description=about)
    default = field.default if isinstance(field.default, (*PLAIN, Enum)) else None
    return strawberry.field(default=default, description=about)


def _given(annotation: Any) -> Mapped | None:  # noqa: ANN401 - types are values here
    """Return what an input takes for some types."""
    if get_origin(annotation) is Annotated:
        named = any(isinstance(one, BeforeValidator) and one.func is revision_number for one in get_args(annotation))
        return Mapped(NamedRevision) if named else None
    # What somebody gives is read, and refused in words, by the one parser.
    return Mapped(str) if is_moment(annotation) else None


def _given_labels(annotation: Any) -> Mapped | None:  # noqa: ANN401 - types are values here
    return Mapped(list[LabelInput]) if get_origin(annotation) is dict else None


def _optional(kind: Any, field: FieldInfo) -> Any:  # noqa: ANN401 - types are values here
    """Return the type of what need not be given; what has a value then is never null."""
    is_value = isinstance(field.default, (*PLAIN, Enum)) or field.default_factory is not None
    return kind if is_value or NoneType in get_args(kind) else kind | None


# Names and texts.


def _subject(command: AnyCommand) -> str:
    return command.graph.subject


def _name(graph: Graph, field: str) -> str:
    return graph.renamed.get(field, f"{field}_id" if field == _NUMBERED else field)


def _camel(command: AnyCommand) -> str:
    return "".join(word.capitalize() for word in mutation_name(command).split("_"))


def _about(command: AnyCommand) -> str:
    return command.graph.about or command.about


def _about_model(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "")


def _sentence(model: type[BaseModel]) -> str:
    return _about_model(model).partition("\n")[0].rstrip(".")


def _description(model: type[BaseModel], name: str) -> str:
    return field_texts(model).get(name, "")
