"""Whoever opens a schema finds a sentence under everything that it names."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    build_schema,
    is_specified_scalar_type,
)

from celadon.api.schema_files import GRAPHQL_FILE, OPENAPI_FILE, schema_files
from celadon.service.commands.promote import PromoteResult

# Pydantic's own, for a value that may be anything.
NOT_OURS: Final = frozenset({"JsonValue"})


def test_everything_in_the_graphql_schema_is_described() -> None:
    schema = build_schema(schema_files()[GRAPHQL_FILE])
    ours = [
        kind for kind in schema.type_map.values() if not (kind.name.startswith("__") or is_specified_scalar_type(kind))
    ]
    assert len(ours) > 60, "the schema has lost most of its types"
    silent = _silent(element for kind in ours for element in _elements(kind))
    assert not silent, f"nothing is said of {', '.join(silent)}"


def test_everything_in_the_openapi_file_is_described() -> None:
    described = json.loads(schema_files()[OPENAPI_FILE])
    schemas = {name: one for name, one in described["components"]["schemas"].items() if name not in NOT_OURS}
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    elements = [(name, one.get("description")) for name, one in schemas.items()]
    elements += [
        (f"{name}.{key}", value.get("description"))
        for name, one in schemas.items()
        for key, value in _properties(one).items()
    ]
    elements += [(name, operation.get("description")) for name, operation in operations]
    elements += [
        (f"{name} {parameter['name']}", parameter.get("description"))
        for name, operation in operations
        for parameter in operation.get("parameters", [])
    ]
    assert len(elements) > 300, "the file has lost most of what it describes"
    silent = _silent(elements)
    assert not silent, f"nothing is said of {', '.join(silent)}"


def test_a_sentence_is_told_by_both_doors() -> None:
    schema = build_schema(schema_files()[GRAPHQL_FILE])
    answer = json.loads(schema_files()[OPENAPI_FILE])["components"]["schemas"]["PromoteAnswer"]["properties"]
    switch = schema.type_map["Switch"]
    assert isinstance(switch, GraphQLObjectType)
    assert switch.fields["milliseconds"].description == answer["ms"]["description"]
    assert switch.fields["silent"].description == answer["silent"]["description"]


def test_a_field_that_refers_to_another_model_is_described_too() -> None:
    answer = PromoteResult.model_json_schema()["properties"]["answer"]
    assert answer["$ref"].endswith("/PromoteAnswer")
    assert answer["description"]


def _elements(kind: GraphQLNamedType) -> Iterator[tuple[str, str | None]]:
    yield kind.name, kind.description
    match kind:
        case GraphQLObjectType() | GraphQLInterfaceType():
            for name, field in kind.fields.items():
                yield f"{kind.name}.{name}", field.description
                for argument, told in field.args.items():
                    yield f"{kind.name}.{name}({argument}:)", told.description
        case GraphQLInputObjectType():
            for name, entry in kind.fields.items():
                yield f"{kind.name}.{name}", entry.description
        case GraphQLEnumType():
            for name, value in kind.values.items():
                yield f"{kind.name}.{name}", value.description
        case _:
            pass


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema.get("properties", {})
    return found


def _silent(elements: Iterable[tuple[str, str | None]]) -> list[str]:
    return [name for name, description in elements if not (description or "").strip()]


@pytest.mark.parametrize(("model", "key"), [("PromoteRequest", "revision"), ("RollbackRequest", "to_revision")])
def test_the_openapi_file_says_that_a_revision_may_be_given_by_its_name(model: str, key: str) -> None:
    described = json.loads(schema_files()[OPENAPI_FILE])

    taken = described["components"]["schemas"][model]["properties"][key]["anyOf"]

    assert {"type": "string", "pattern": "^r[1-9][0-9]{0,9}$"} in taken


@pytest.mark.parametrize(
    ("page", "cursor"), [("RolloutList", "before"), ("History", "before"), ("RouterList", "after")]
)
def test_a_list_says_how_its_next_page_is_asked_for(page: str, cursor: str) -> None:
    described = json.loads(schema_files()[OPENAPI_FILE])["components"]["schemas"][page]["properties"]

    assert described[f"next_{cursor}"]["description"].startswith(f"Give it as ``{cursor}``")
