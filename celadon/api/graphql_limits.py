"""What a GraphQL query may cost: as many fields as it can answer, lists counted by their length; and its depth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    Visitor,
    visit,
)
from strawberry.extensions import SchemaExtension

USUAL_LENGTH: Final = 20
"""What a list counts for that is not asked for by its length."""

LISTS: Final = frozenset(
    {"deployments", "routes", "routeSets", "revisions", "routers", "acknowledgements", "labels", "behind", "timers"},
)
"""Fields that answer with a list of their own length."""

PAGED: Final = frozenset({"rollouts", "events"})
"""Fields that answer with a page of ``first``."""

MOST_ALIASES: Final = 30
"""Each may ask for the same list anew."""

DEAR: Final[Mapping[str, int]] = {"workflow": 50}
"""Fields that ask another service for each object."""


class QueryLimit(SchemaExtension):
    """Refuses a query that is too deep, or can answer with more fields than a caller may ask for."""

    most_depth = 12
    most_cost = 20_000

    def on_validate(self) -> Iterator[None]:
        """Weigh before the query is validated, which takes long for one that is made to."""
        context = self.execution_context
        document = context.graphql_document
        if document is not None and context.pre_execution_errors is None:
            context.pre_execution_errors = self._weigh(document, context.variables or {}) or None
        yield

    def _weigh(self, document: DocumentNode, variables: Mapping[str, object]) -> list[GraphQLError]:
        aliases = _Aliases()
        visit(document, aliases)
        if aliases.count > MOST_ALIASES:
            return [_refused(f"the query has more than {MOST_ALIASES} aliases", "QUERY_TOO_DEAR")]
        scales = _Scales(document, variables)
        for definition in document.definitions:
            if not isinstance(definition, OperationDefinitionNode):
                continue
            weight = scales.weigh(definition.selection_set)
            if weight.depth > self.most_depth:
                return [_refused(f"the query is deeper than {self.most_depth} fields", "QUERY_TOO_DEEP")]
            if weight.cost > self.most_cost:
                return [
                    _refused(
                        f"the query costs more than {self.most_cost}: it asks for that many fields, lists counted by "
                        "their length; ask for fewer, or for shorter pages with 'first'",
                        "QUERY_TOO_DEAR",
                    ),
                ]
        return []


def _refused(message: str, code: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": code})


@dataclass(frozen=True, slots=True)
class _Weight:
    cost: int = 0
    depth: int = 0

    def beside(self, other: "_Weight") -> "_Weight":
        return _Weight(self.cost + other.cost, max(self.depth, other.depth))


class _Aliases(Visitor):
    """Counts the aliases that are written; what a fragment repeats, its weight counts."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def enter_field(self, node: FieldNode, *_: object) -> None:
        self.count += node.alias is not None


class _Scales:
    """Weighs selections; each fragment once, however often it is spread.

    The document has not been validated: a fragment that is unknown or contains itself weighs nothing more.
    """

    def __init__(self, document: DocumentNode, variables: Mapping[str, object]) -> None:
        self._variables = variables
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._known: dict[str, _Weight] = {}

    def weigh(self, selection: SelectionSetNode | None) -> _Weight:
        total = _Weight()
        for node in () if selection is None else selection.selections:
            if isinstance(node, InlineFragmentNode):
                total = total.beside(self.weigh(node.selection_set))
            elif isinstance(node, FragmentSpreadNode):
                total = total.beside(self._fragment(node.name.value))
            elif isinstance(node, FieldNode):
                total = total.beside(self._field(node))
        return total

    def _fragment(self, name: str) -> _Weight:
        fragment = self._fragments.get(name)
        if name not in self._known and fragment is not None:
            self._known[name] = _Weight()
            self._known[name] = self.weigh(fragment.selection_set)
        return self._known.get(name, _Weight())

    def _field(self, node: FieldNode) -> _Weight:
        name = node.name.value
        if name.startswith("__"):
            return _Weight(1, 1)
        inner = self.weigh(node.selection_set)
        return _Weight(DEAR.get(name, 1) + _length(node, self._variables) * inner.cost, 1 + inner.depth)


def _length(node: FieldNode, variables: Mapping[str, object]) -> int:
    name = node.name.value
    if name in LISTS:
        return USUAL_LENGTH
    if name not in PAGED:
        return 1
    for argument in node.arguments or ():
        if argument.name.value != "first":
            continue
        if isinstance(argument.value, IntValueNode):
            return max(1, int(argument.value.value))
        if isinstance(argument.value, VariableNode):
            given = variables.get(argument.value.name.value)
            return max(1, given) if isinstance(given, int) else USUAL_LENGTH
    return USUAL_LENGTH
