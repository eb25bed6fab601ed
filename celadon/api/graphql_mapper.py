"""GraphQL types of Pydantic models: what a model says of a field, its type and its text, is said there once.

Strawberry's own module for that knows neither spans of time nor mappings.
"""

import types
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    NamedTuple,
    Self,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import strawberry
from pydantic import AwareDatetime, BaseModel
from strawberry.scalars import JSON
from strawberry.types.field import StrawberryField

from celadon.api.graphql_descriptions import described_by
from celadon.domain.language.base_models import Record
from celadon.domain.language.names import RolloutId, RouteId, RouteSetId
from celadon.service.door_words import TOLD, Door, answer_at, said_at

ModelT = TypeVar("ModelT", bound=BaseModel)

PLAIN: Final = (bool, int, float, str)
_MANY: Final = (tuple, list, frozenset, set)
_IDS: Final = (RolloutId, RouteSetId, RouteId)
EVIDENCE: Final = "evidence"
"""The field of a line of the audit log under which stands what was said, too."""


class Mapped(NamedTuple):
    """How the schema shows a value of a model."""

    kind: Any
    """Strawberry's type."""
    convert: Callable[[Any], Any] | None = None
    """Makes the schema's value of the model's when there is one; ``None`` when both are the same."""


def mapped(annotation: Any, special: Callable[[Any], Mapped | None] = lambda _: None) -> Mapped:  # noqa: ANN401 - types are values here
    """Return how the schema shows what a field of a model holds; as JSON what it has no type for.

    Args:
        annotation: the field's type.
        special: asked first, also of what stands inside of the type; answers ``None`` for what it leaves to the rest.

    """
    special_type = special(annotation)
    if special_type is not None:
        return special_type
    annotation = getattr(annotation, "__supertype__", annotation)
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return mapped(inside[0], special)
    kind: Any
    if types.NoneType in inside:
        kind, convert = mapped(without_none(annotation), special)
        return Mapped(kind | None, convert)
    if origin in _MANY:
        kind, convert = mapped(inside[0], special)
        return Mapped(list[kind], list if convert is None else _each(convert))
    if annotation is timedelta:
        return Mapped(str, str)
    if is_moment(annotation):
        return Mapped(datetime)
    if isinstance(annotation, type):
        if issubclass(annotation, (*PLAIN, Enum)):
            return Mapped(annotation)
        if issubclass(annotation, BaseModel):
            return Mapped(JSON, lambda model: model.model_dump(mode="json"))
    return Mapped(JSON)


def is_moment(annotation: Any) -> bool:  # noqa: ANN401 - types are values here
    """Return whether a type is that of moments."""
    return annotation is datetime or annotation is AwareDatetime


def without_none(kind: Any) -> Any:  # noqa: ANN401 - types are values here
    """Return a type without the possibility of no value."""
    inside = get_args(kind)
    return next(one for one in inside if one is not types.NoneType) if types.NoneType in inside else kind


class View(Generic[ModelT]):
    """A type of the schema that shows a model: ``class Route(View[RouteRecord], hides="deployment", id="route")``.

    It has the fields of the model in the model's order, and those that the class has itself, of which one that is
    called as a field of the model takes its place. Keywords of a class:

    - ``hides``: fields of the model that are not shown, with spaces between their names.
    - ``first``: fields that stand first in the schema, in this order.
    - any other: a name in the schema, and the field or property of the model that is shown under it.

    What the schema calls ``id``, or renames to something that ends so, is an id, as is the number of a rollout or set.
    A model inside of the model is shown by its own view, which is made when there is none, or as JSON when people
    write it.
    """

    record: ModelT
    """What is shown."""
    readers: ClassVar[tuple[tuple[str, str, Callable[[Any], Any] | None], ...]]
    """The name of each field of the model in the schema and in the model, and how its value is converted."""

    def __init_subclass__(cls, *, hides: str = "", first: str = "", **names: str) -> None:
        """Make the class a type of the schema.

        Raises:
            TypeError: a name is neither one of the model's nor one of the class's own.

        """
        super().__init_subclass__()
        model = _model_of(cls)
        own = [name for name, value in vars(cls).items() if isinstance(value, StrawberryField)]
        sources = _sources(model, own, hidden=hides.split(), first=first.split(), names=names)
        kinds: dict[str, Any] = {}
        readers: list[tuple[str, str, Callable[[Any], Any] | None]] = []
        for name, source in sources.items():
            if name in own:
                kinds[name] = None  # Its resolver says of which type; here it has its place.
                continue
            is_id = name == "id" or (name != source and name.endswith("_id"))
            kinds[name], convert = mapped(_annotation(model, source), _identity if is_id else _shown)
            readers.append((name, source, convert or _in_own_words(source, kinds[name])))
        cls.__annotations__ = kinds
        cls.readers = tuple(readers)
        described_by(model, **names)(strawberry.type(cls))
        _VIEWS.setdefault(model, cls)

    @classmethod
    def of(cls, record: ModelT) -> Self:
        """Show a value of the model."""
        values: dict[str, object] = {}
        for name, source, convert in cls.readers:
            value = getattr(record, source)
            values[name] = value if convert is None or value is None else convert(value)
        made: Any = cls
        shown: Self = made(**values)
        shown.record = record
        return shown


_VIEWS: Final[dict[type[BaseModel], type[View[Any]]]] = {}


def _view_of(model: type[Record]) -> type[View[Any]]:
    if model not in _VIEWS:
        about = {"__doc__": model.__doc__, "__module__": __name__}
        types.new_class(model.__name__, (View[model],), exec_body=lambda space: space.update(about))  # type: ignore[valid-type]  # the model is a value here
    return _VIEWS[model]


def _model_of(kind: type) -> type[BaseModel]:
    model: type[BaseModel] = get_args(vars(kind)["__orig_bases__"][0])[0]
    return model


def _sources(
    model: type[BaseModel], own: list[str], *, hidden: list[str], first: list[str], names: dict[str, str]
) -> dict[str, str]:
    """Return by each name in the schema, in the schema's order, the name in the model.

    Raises:
        TypeError: a name is neither one of the model's nor one of the class's own.

    """
    sources: dict[str, str] = {}
    for source in model.model_fields:
        under = [name for name, renamed in names.items() if renamed == source]
        sources |= dict.fromkeys(under or ([] if source in hidden else [source]), source)
    sources |= names | {name: name for name in own}
    unknown = [one for one in (*hidden, *names.values()) if not hasattr(model, one) and one not in model.model_fields]
    unknown += [name for name in first if name not in sources]
    if unknown:
        raise TypeError(f"{model.__name__} has no {', '.join(unknown)}")
    return {name: sources[name] for name in (*first, *(name for name in sources if name not in first))}


def _annotation(model: type[BaseModel], source: str) -> Any:  # noqa: ANN401 - types are values here
    field = model.model_fields.get(source)
    return get_type_hints(getattr(model, source).fget)["return"] if field is None else field.annotation


def _identity(annotation: Any) -> Mapped | None:  # noqa: ANN401 - types are values here
    return None if types.NoneType in get_args(annotation) else Mapped(strawberry.ID, str)


def _shown(annotation: Any) -> Mapped | None:  # noqa: ANN401 - types are values here
    if any(annotation is one for one in _IDS):
        return Mapped(strawberry.ID, str)
    if isinstance(annotation, type) and issubclass(annotation, Record):
        view = _view_of(annotation)
        return Mapped(view, view.of)
    return None


def _in_own_words(source: str, kind: Any) -> Callable[[Any], Any] | None:  # noqa: ANN401 - as above
    """Return what puts mutations in the place of command lines, for a field in which Celadon says something."""
    if source in TOLD and without_none(kind) is str:
        return partial(said_at, Door.GRAPHQL)
    return partial(answer_at, Door.GRAPHQL) if source == EVIDENCE else None


def _each(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: [convert(one) for one in values]
