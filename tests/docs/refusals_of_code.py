"""Refusals as the code writes them: code, message and next step, with ``…`` for what is filled in."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tests.docs.tables import REPOSITORY
from tests.docs.texts_of_code import HOLE

_FIELDS = ("code", "message", "next_step")
_MAKERS = frozenset({"Refusal", "refuse"})


@dataclass(frozen=True, slots=True, order=True)
class WrittenRefusal:
    """A refusal, as one place of the code writes it."""

    code: str
    message: str
    next_step: str


@cache
def refusals_of(module: str) -> tuple[WrittenRefusal, ...]:
    """Return the refusals of one module, in the order in which they stand there.

    One whose message is a parameter stands there once for each call that gives it.
    """
    tree = ast.parse((REPOSITORY / module).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    calls = sorted((node for node in ast.walk(tree) if isinstance(node, ast.Call)), key=lambda node: node.lineno)
    return tuple(dict.fromkeys(one for node in calls for one in _written(node, tree, functions)))


def _written(
    node: ast.AST, tree: ast.Module, functions: Sequence[ast.FunctionDef | ast.AsyncFunctionDef]
) -> Iterator[WrittenRefusal]:
    fields = _fields(node)
    if not fields:
        return
    message = fields["message"]
    around = next((one for one in functions if any(inner is node for inner in ast.walk(one))), None)
    given: Sequence[ast.expr] = (message,)
    if isinstance(message, ast.Name) and around is not None:
        given = tuple(_given(tree, around, message.id)) or given
    for one in given:
        yield WrittenRefusal(_code(fields["code"]), _one_hole(_text(one)), _one_hole(_text(fields["next_step"])))


def _fields(node: ast.AST) -> Mapping[str, ast.expr]:
    """Return what a refusal is made of, by field; nothing when the node makes none."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in _MAKERS:
        return {}
    fields = dict(zip(_FIELDS, node.args, strict=False)) | {one.arg: one.value for one in node.keywords if one.arg}
    return fields if set(fields) == set(_FIELDS) else {}


def _given(tree: ast.Module, function: ast.FunctionDef | ast.AsyncFunctionDef, parameter: str) -> Iterator[ast.expr]:
    """Return what the calls of a function in its own module give for one of its parameters."""
    names = [one.arg for one in function.args.args]
    if parameter not in names:
        return
    place = names.index(parameter)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function.name:
            yield node.args[place]


def _one_hole(text: str) -> str:
    return re.sub(f"{HOLE}+", HOLE, text)


def _code(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else HOLE


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(one) for one in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.IfExp(body=text, orelse=ast.Constant(value="")) | ast.IfExp(body=ast.Constant(value=""), orelse=text):
            return f"[{_text(text)}]"
        case ast.IfExp(body=body, orelse=orelse) if HOLE not in {_text(body), _text(orelse)}:
            return f"{_text(body)} / {_text(orelse)}"
        case _:
            return HOLE
