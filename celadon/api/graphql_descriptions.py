"""What readers of the GraphQL schema are told of it: what stands in the code under each class, field and member.

A type that shows a value of another part says only what is its own; the rest is told by that value's sentences, which
REST tells too.
"""

import inspect
from collections.abc import Callable, Mapping
from enum import EnumMeta
from typing import Final, TypeVar

import strawberry
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    get_named_type,
)
from pydantic import BaseModel
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.enum import StrawberryEnumDefinition
from strawberry.types.field import StrawberryField

from celadon.domain.language.base_models import field_texts
from celadon.domain.language.docstrings import attribute_docstrings

KindT = TypeVar("KindT")

_DESCRIBED: Final[dict[type, tuple[type[BaseModel], Mapping[str, str]]]] = {}
"""The model whose sentences describe a type, and the model's names of fields that the type names otherwise."""


def described_by(model: type[BaseModel], **names: str) -> Callable[[type[KindT]], type[KindT]]:
    """Let a model's sentences describe the fields of a type that have none of their own.

    Args:
        model: what the type shows, or what an input is read as.
        names: the model's names of fields that the type names otherwise.

    """

    def note(kind: type[KindT]) -> type[KindT]:
        _DESCRIBED[kind] = model, names
        return kind

    return note


def describe(schema: strawberry.Schema) -> None:
    """Describe whatever says nothing yet: types, fields, arguments and members of enumerations."""
    for concrete in schema.schema_converter.type_map.values():
        match concrete.definition, concrete.implementation:
            case StrawberryEnumDefinition() as definition, GraphQLEnumType() as told:
                _describe_enum(definition.wrapped_cls, told)
            case StrawberryObjectDefinition() as definition, GraphQLObjectType() | GraphQLInputObjectType() as told:
                told.description = told.description or _of_class(definition.origin)
                _describe_fields(definition.origin, told.fields)
            case _:
                pass
    # An argument may stand for a whole input, whose description must be there by now.
    for concrete in schema.schema_converter.type_map.values():
        if isinstance(concrete.implementation, GraphQLObjectType):
            for field in concrete.implementation.fields.values():
                _describe_arguments(field.args)


def _describe_enum(kind: EnumMeta, told: GraphQLEnumType) -> None:
    told.description = told.description or _of_class(kind)
    sentences = attribute_docstrings(kind)
    for name, member in told.values.items():
        member.description = member.description or sentences.get(name)


def _describe_fields(kind: type, told: Mapping[str, GraphQLField] | Mapping[str, GraphQLInputField]) -> None:
    sentences = _sentences(kind)
    for field in told.values():
        definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if isinstance(definition, StrawberryField):
            field.description = field.description or sentences.get(definition.python_name)


def _describe_arguments(told: Mapping[str, GraphQLArgument]) -> None:
    for argument in told.values():
        kind = get_named_type(argument.type)
        if isinstance(kind, GraphQLInputObjectType):
            argument.description = argument.description or kind.description


def _sentences(kind: type) -> Mapping[str, str]:
    own = attribute_docstrings(kind)
    if kind not in _DESCRIBED:
        return own
    model, names = _DESCRIBED[kind]
    texts = field_texts(model)
    renamed = {name: texts.get(source) or _of_property(model, source) for name, source in names.items()}
    return {**texts, **renamed, **own}


def _of_property(model: type[BaseModel], name: str) -> str:
    return inspect.cleandoc(getattr(model, name).__doc__ or "")


def _of_class(kind: type) -> str | None:
    return inspect.cleandoc(kind.__doc__) if kind.__doc__ else None
