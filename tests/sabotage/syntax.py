"""Finds a place in a module by its syntax, and writes something else there.

A place is the one part of a definition that has the syntax of a pattern, whatever the layout, the comments and the code
around it. Patterns are Python:

- an expression stands for itself: ``deployment.frozen``;
- ``if CONDITION:`` and ``while CONDITION:`` stand for the condition of such a statement;
- other statements stand for themselves, one after the other.

``...`` in a pattern is any expression, or as a block any block; in what is written, it is the expression that was found
there. ``name(*...)`` is a call with any arguments.
"""

import ast
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

_NOT_COMPARED: Final = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params"})
_HEADERS: Final = (ast.If, ast.While)

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


class PlaceError(Exception):
    """A place does not stand in a module exactly once."""


class _Place:
    """Consecutive nodes of a module's tree, and what the pattern's ``...`` found there."""

    def __init__(self, nodes: Sequence[ast.expr | ast.stmt], holes: Sequence[ast.expr]) -> None:
        self.nodes = nodes
        self.holes = holes

    @property
    def is_expression(self) -> bool:
        return isinstance(self.nodes[0], ast.expr)


class _Source:
    """The text of a module; positions in its tree are lines, and bytes of a line."""

    def __init__(self, text: str) -> None:
        self._bytes = text.encode()
        lengths = [len(line) for line in self._bytes.splitlines(keepends=True)]
        self._starts = [sum(lengths[:number]) for number in range(len(lengths) + 1)]

    def span(self, first: ast.expr | ast.stmt, last: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return where nodes begin and end, in bytes."""
        assert last.end_lineno is not None
        assert last.end_col_offset is not None
        begin = self._starts[first.lineno - 1] + first.col_offset
        return begin, self._starts[last.end_lineno - 1] + last.end_col_offset

    def text_of(self, node: ast.expr) -> str:
        """Return what a node is written as."""
        begin, end = self.span(node, node)
        return self._bytes[begin:end].decode()

    def with_text(self, place: _Place, text: str) -> str:
        """Return the module with something else at a place."""
        begin, end = self.span(place.nodes[0], place.nodes[-1])
        return (self._bytes[:begin] + text.encode() + self._bytes[end:]).decode()


def replace_once(content: str, definition: str, old: str, new: str) -> str:
    """Return a module in which ``new`` stands at the one place of a definition that is as the pattern ``old`` says.

    ``definition`` is the qualified name of a function, a class or a variable; empty, it is the whole module. An empty
    ``new`` leaves statements out.

    Raises:
        PlaceError: there is no such definition, or no such place, or more than one.
        SyntaxError: a pattern, or what would come about, is not Python.

    """
    tree = ast.parse(content)
    scope = _find_definition(tree, definition) if definition else tree
    places = list(_places(scope, old))
    if len(places) != 1:
        where = definition or "the module"
        raise PlaceError(f"{old!r} stands {len(places)} times in {where}, not once")
    [place] = places
    source = _Source(content)
    replaced = source.with_text(place, _written(source, place, new))
    ast.parse(replaced)
    return replaced


def _find_definition(tree: ast.Module, qualified_name: str) -> Definition:
    """Return the one definition of a qualified name.

    Raises:
        PlaceError: there is none, or more than one.

    """
    scopes: list[ast.AST] = [tree]
    for name in qualified_name.split("."):
        scopes = [one for scope in scopes for one in _definitions(scope) if name in _names(one)]
    found = [one for one in scopes if isinstance(one, Definition)]
    if len(found) != 1:
        raise PlaceError(f"{qualified_name!r} is defined {len(found)} times, not once")
    return found[0]


def _definitions(scope: ast.AST) -> Iterator[Definition]:
    """Yield what is defined directly in a module, a class or a function, whatever blocks it stands in."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, Definition):
            yield child
        else:
            yield from _definitions(child)


def _names(definition: Definition) -> set[str]:
    if isinstance(definition, ast.Assign):
        return {target.id for target in definition.targets if isinstance(target, ast.Name)}
    if isinstance(definition, ast.AnnAssign):
        return {definition.target.id} if isinstance(definition.target, ast.Name) else set()
    return {definition.name}


def _places(scope: ast.AST, old: str) -> Iterator[_Place]:
    """Yield every place within a scope that is as a pattern says."""
    pattern = _parse(old)
    if isinstance(pattern, ast.expr):
        candidates: Iterator[Sequence[ast.expr | ast.stmt]] = (
            [node] for node in ast.walk(scope) if isinstance(node, ast.expr)
        )
        wanted: Sequence[ast.expr | ast.stmt] = [pattern]
    elif old.rstrip().endswith(":"):
        [header] = pattern
        assert isinstance(header, _HEADERS)
        candidates = (
            [node.test] for node in ast.walk(scope) if type(node) is type(header) and isinstance(node, _HEADERS)
        )
        wanted = [header.test]
    else:
        candidates = _runs_of_statements(scope, len(pattern))
        wanted = pattern
    for nodes in candidates:
        holes: list[ast.expr] = []
        if _all_match(wanted, nodes, holes):
            yield _Place(nodes, holes)


def _parse(text: str) -> ast.expr | list[ast.stmt]:
    """Parse a pattern; the block of a header alone is ``...``."""
    text = textwrap.dedent(text).strip()
    if text.endswith(":"):
        return ast.parse(f"{text} ...").body
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return ast.parse(text).body


def _runs_of_statements(scope: ast.AST, length: int) -> Iterator[Sequence[ast.stmt]]:
    """Yield all statements of each block that stand one after the other, so many at a time."""
    for node in ast.walk(scope):
        for _, block in ast.iter_fields(node):
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                for first in range(len(block) - length + 1):
                    yield block[first : first + length]


def _all_match(patterns: Sequence[object], found: Sequence[object], holes: list[ast.expr]) -> bool:
    return len(patterns) == len(found) and all(
        _matches(pattern, one, holes) for pattern, one in zip(patterns, found, strict=True)
    )


def _matches(pattern: object, found: object, holes: list[ast.expr]) -> bool:
    """Whether a part of a tree is as the pattern says; ``holes`` takes what stands for ``...``."""
    if isinstance(pattern, list) and isinstance(found, list):
        if len(pattern) == 1 and isinstance(pattern[0], ast.Expr) and _is_hole(pattern[0].value):
            return True
        return _all_match(pattern, found, holes)
    if _is_hole(pattern) and isinstance(found, ast.expr):
        holes.append(found)
        return True
    if not isinstance(pattern, ast.AST) or not isinstance(found, ast.AST):
        return type(pattern) is type(found) and pattern == found
    if isinstance(pattern, ast.Call) and isinstance(found, ast.Call) and _takes_anything(pattern):
        return _matches(pattern.func, found.func, holes)
    return type(pattern) is type(found) and all(
        _matches(getattr(pattern, field, None), getattr(found, field, None), holes)
        for field in pattern._fields
        if field not in _NOT_COMPARED
    )


def _is_hole(pattern: object) -> bool:
    return isinstance(pattern, ast.Constant) and pattern.value is ...


def _takes_anything(pattern: ast.Call) -> bool:
    return len(pattern.args) == 1 and isinstance(pattern.args[0], ast.Starred) and _is_hole(pattern.args[0].value)


def _written(source: _Source, place: _Place, new: str) -> str:
    """Return what to write at a place: an expression in brackets, or statements as deep as those that were there."""
    text = textwrap.dedent(new).strip()
    parsed = _parse(text)
    if place.is_expression:
        if isinstance(parsed, list):
            [header] = parsed
            assert isinstance(header, _HEADERS)
            text = ast.unparse(header.test)
            parsed = ast.parse(text, mode="eval").body
        return f"({_filled(source, place, text, parsed)})"
    indent = " " * place.nodes[0].col_offset
    return textwrap.indent(text or "pass", indent).removeprefix(indent)


def _filled(source: _Source, place: _Place, text: str, parsed: ast.expr) -> str:
    """Return an expression with what was found for ``...`` in place of it."""
    own = _Source(text)
    spans = [own.span(node, node) for node in ast.walk(parsed) if _is_hole(node) and isinstance(node, ast.expr)]
    if not spans:
        return text
    [hole] = place.holes
    cuts = [0, *(edge for span in sorted(spans) for edge in span), len(text.encode())]
    kept = [text.encode()[begin:end].decode() for begin, end in list(pairwise(cuts))[::2]]
    return f"({source.text_of(hole)})".join(kept)
