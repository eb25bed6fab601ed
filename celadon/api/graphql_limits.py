"""What a GraphQL query may ask for: its cost in fields, pages counted by their length; its depth; and its width.

The cost is what a query can answer with, after its fragments are expanded. Each fragment is weighed once, however often
it is spread, so weighing takes as long as the query is, and it comes before validation, which can take much longer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SchemaMetaFieldDef,
    SelectionSetNode,
    TypeMetaFieldDef,
    ValueNode,
    VariableNode,
    get_named_type,
    is_list_type,
    is_object_type,
)
from graphql.type import GraphQLEnumType, get_nullable_type
from strawberry.extensions import SchemaExtension

from celadon.domain.language.labels import MOST_LABELS

LONGEST_PAGE: Final = 100
"""Elements of any page."""

MOST_SELECTIONS: Final = 100
"""Fields at the same depth, after fragments are expanded: each may be an alias that asks anew."""

MOST_ALIASES: Final = 30

MOST_OPERATIONS: Final = 10
"""In one document, of which one is carried out."""

MOST_MUTATIONS: Final = 10
"""Changes of one request: each waits for the one before, and may wait for routers."""

MOST_QUESTIONS: Final = 20
"""Questions to Temporal of one request: to workflows, which a worker answers, and for schedules."""

MOST_INTROSPECTION_DEPTH: Final = 16
"""The query by which tools read a schema is as deep as types are nested in it, and some."""

_CONNECTION: Final = "Connection"
_QUESTIONS: Final = frozenset({"workflow", "schedules"})
_QUESTION_COST: Final = 50
_LENGTHS: Final[Mapping[str, float]] = {"labels": MOST_LABELS}
_USUAL_LENGTH: Final = 20
"""Of a list that is part of an object and not of a page: timers and refused messages of one workflow."""


class QueryLimit(SchemaExtension):
    """Refuses a query that is too deep or too wide, or can answer with more fields than a caller may ask for."""

    most_depth = 12
    most_cost = 20_000

    def on_validate(self) -> Iterator[None]:
        """Weigh before the query is validated, which takes long for one that is made to."""
        context = self.execution_context
        document = context.graphql_document
        if document is not None and context.pre_execution_errors is None:
            schema: GraphQLSchema = context.schema._schema  # noqa: SLF001 - Strawberry has no public name for it
            error = self._refusal(document, context.variables or {}, schema)
            context.pre_execution_errors = None if error is None else [error]
        yield

    def _refusal(
        self,
        document: DocumentNode,
        variables: Mapping[str, object],
        schema: GraphQLSchema,
    ) -> GraphQLError | None:
        operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
        if len(operations) > MOST_OPERATIONS:
            return _refused(f"the document has more than {MOST_OPERATIONS} operations", "QUERY_TOO_COSTLY")
        for operation in operations:
            weight = _Scales(document, operation, variables, schema).weigh_operation()
            error = self._too_much(weight, is_mutation=operation.operation is OperationType.MUTATION)
            if error is not None:
                return error
        return None

    def _too_much(self, weight: "_Weight", *, is_mutation: bool) -> GraphQLError | None:
        if weight.aliases > MOST_ALIASES:
            return _refused(f"the query has more than {MOST_ALIASES} aliases", "QUERY_TOO_COSTLY")
        if weight.depth > self.most_depth or weight.introspection_depth > MOST_INTROSPECTION_DEPTH:
            return _refused(f"the query is deeper than {self.most_depth} fields", "QUERY_TOO_DEEP")
        if weight.questions > MOST_QUESTIONS:
            return _refused(
                f"the query asks more than {MOST_QUESTIONS} workflows: ask for 'workflow' in shorter pages",
                "QUERY_TOO_COSTLY",
            )
        if weight.cost > self.most_cost:
            return _refused(
                f"the query costs more than {self.most_cost}: it asks for that many fields, lists counted by "
                "their length; ask for fewer, or for shorter pages with 'first'",
                "QUERY_TOO_COSTLY",
            )
        if is_mutation and weight.levels[:1] > (MOST_MUTATIONS,):
            return _refused(f"the request makes more than {MOST_MUTATIONS} changes", "QUERY_TOO_COSTLY")
        if max(weight.levels, default=0) > MOST_SELECTIONS:
            return _refused(
                f"the query selects more than {MOST_SELECTIONS} fields at the same depth, fragments expanded",
                "QUERY_TOO_COSTLY",
            )
        return None


def _refused(message: str, code: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": code})


@dataclass(frozen=True, slots=True)
class _Weight:
    """What a selection comes to; ``edges`` is what stands in it for each element of the page around it."""

    cost: float = 0
    questions: float = 0
    aliases: int = 0
    depth: int = 0
    introspection_depth: int = 0
    levels: tuple[int, ...] = ()
    edges: "_Weight | None" = field(default=None)

    def beside(self, other: "_Weight") -> "_Weight":
        return _Weight(
            cost=self.cost + other.cost,
            questions=self.questions + other.questions,
            aliases=self.aliases + other.aliases,
            depth=max(self.depth, other.depth),
            introspection_depth=max(self.introspection_depth, other.introspection_depth),
            levels=tuple(a + b for a, b in zip_longest(self.levels, other.levels, fillvalue=0)),
            edges=other.edges if self.edges is None else self.edges.beside(other.edges or _Weight()),
        )

    def within(
        self, length: float, cost: float, *, is_page: bool, asks: bool, is_alias: bool, is_meta: bool
    ) -> "_Weight":
        """Return the weight of a field that has this selection, as often as ``length`` says."""
        once, often = (self, self.edges or _Weight()) if is_page else (_Weight(), self)
        depth = max(self.depth, self.introspection_depth)
        return _Weight(
            cost=cost + once.cost + length * often.cost,
            questions=asks + once.questions + length * often.questions,
            aliases=self.aliases + is_alias,
            depth=0 if is_meta else 1 + self.depth,
            introspection_depth=1 + depth if is_meta else 0,
            levels=(1, *self.levels),
        )


class _Scales:
    """Weighs the selections of one operation; each fragment once, however often it is spread.

    The document has not been validated: a fragment that is unknown or contains itself weighs nothing more.
    """

    def __init__(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, object],
        schema: GraphQLSchema,
    ) -> None:
        self._operation = operation
        self._schema = schema
        self._introspection = _Introspection(schema)
        defaults = {
            one.variable.name.value: one.default_value
            for one in operation.variable_definitions or ()
            if one.default_value
        }
        self._variables: Mapping[str, object] = {**defaults, **variables}
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._known: dict[tuple[str, bool], _Weight] = {}

    def weigh_operation(self) -> _Weight:
        root = self._schema.get_root_type(self._operation.operation)
        return self._weigh(self._operation.selection_set, root, on_average=False)

    def _weigh(
        self,
        selection: SelectionSetNode | None,
        kind: GraphQLNamedType | None,
        *,
        on_average: bool,
    ) -> _Weight:
        total = _Weight()
        for node in () if selection is None else selection.selections:
            if isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                inner = kind if condition is None else self._schema.get_type(condition.name.value)
                total = total.beside(self._weigh(node.selection_set, inner, on_average=on_average))
            elif isinstance(node, FragmentSpreadNode):
                total = total.beside(self._fragment(node.name.value, on_average=on_average))
            elif isinstance(node, FieldNode):
                total = total.beside(self._field(node, kind, on_average=on_average))
        return total

    def _fragment(self, name: str, *, on_average: bool) -> _Weight:
        fragment, key = self._fragments.get(name), (name, on_average)
        if key not in self._known and fragment is not None:
            self._known[key] = _Weight()
            kind = self._schema.get_type(fragment.type_condition.name.value)
            self._known[key] = self._weigh(fragment.selection_set, kind, on_average=on_average)
        return self._known.get(key, _Weight())

    def _field(self, node: FieldNode, kind: GraphQLNamedType | None, *, on_average: bool) -> _Weight:
        name = node.name.value
        definition = _definition(name, kind)
        inner_kind = None if definition is None else get_named_type(definition.type)
        is_meta = name.startswith("__") or (kind is not None and kind.name.startswith("__"))
        average = name == "types" or (on_average and name in {"fields", "args", "inputFields", "enumValues"})
        inner = self._weigh(node.selection_set, inner_kind, on_average=average and is_meta)
        is_alias = node.alias is not None
        if kind is not None and kind.name.endswith(_CONNECTION) and name == "edges":
            # What a page holds is counted where its length is said: at the field that answers with the page.
            below = inner.within(1, 1, is_page=False, asks=False, is_alias=is_alias, is_meta=False)
            return _Weight(
                aliases=below.aliases,
                depth=below.depth,
                levels=below.levels,
                edges=_Weight(cost=below.cost, questions=below.questions),
            )
        length: float = 1
        is_page = inner_kind is not None and inner_kind.name.endswith(_CONNECTION)
        if is_meta:
            length = self._introspection.length(name, on_average=on_average)
        elif is_page:
            length = self._page_length(node, definition)
        elif definition is not None and is_list_type(get_nullable_type(definition.type)) and is_object_type(inner_kind):
            length = _LENGTHS.get(name, _USUAL_LENGTH)
        asks = not is_meta and name in _QUESTIONS
        cost = _QUESTION_COST if asks else 1
        return inner.within(length, cost, is_page=is_page, asks=asks, is_alias=is_alias, is_meta=is_meta)

    def _page_length(self, node: FieldNode, definition: GraphQLField | None) -> int:
        """Return how long a page is asked for, by its argument, the variable in it, or what stands for either."""
        for argument in node.arguments or ():
            if argument.name.value == "first":
                return self._number(argument.value)
        first = None if definition is None else definition.args.get("first")
        return LONGEST_PAGE if first is None or not isinstance(first.default_value, int) else first.default_value

    def _number(self, value: object) -> int:
        if isinstance(value, VariableNode):
            value = self._variables.get(value.name.value)
        if isinstance(value, IntValueNode):
            value = int(value.value)
        if isinstance(value, ValueNode) or not isinstance(value, int | float):
            return LONGEST_PAGE
        return max(1, int(value))


def _definition(name: str, kind: GraphQLNamedType | None) -> GraphQLField | None:
    if name == "__schema":
        return SchemaMetaFieldDef
    if name == "__type":
        return TypeMetaFieldDef
    return kind.fields.get(name) if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) else None


class _Introspection:
    """How long the lists are by which a schema describes itself: on average under ``types``, else at their longest."""

    def __init__(self, schema: GraphQLSchema) -> None:
        kinds = list(schema.type_map.values())
        fields = [len(kind.fields) for kind in kinds if isinstance(kind, GraphQLObjectType)]
        inputs = [len(kind.fields) for kind in kinds if isinstance(kind, GraphQLInputObjectType)]
        members = [len(kind.values) for kind in kinds if isinstance(kind, GraphQLEnumType)]
        self._types = len(kinds)
        self._longest = {
            "fields": max(fields, default=1),
            "inputFields": max(inputs, default=1),
            "enumValues": max(members, default=1),
            "args": 5,
            "possibleTypes": 2,
        }
        self._average = {
            "fields": sum(fields) / self._types,
            "inputFields": sum(inputs) / self._types,
            "enumValues": sum(members) / self._types,
            "args": 1,
            "possibleTypes": 1,
        }
        self._directives = len(schema.directives)

    def length(self, name: str, *, on_average: bool) -> float:
        """Return how often a field's selection is answered."""
        match name:
            case "types":
                return self._types
            case "directives":
                return self._directives
            case "ofType":
                # Few types are wrapped, and none is wrapped for ever.
                return 0.6
            case _:
                return (self._average if on_average else self._longest).get(name, 1)
