"""What stands under a field or under a member of an enumeration describes it; here it is read when somebody asks.

Pydantic can read it too, when a class is made; for values that every process loads at its start that takes long, and
of enumerations it reads nothing.
"""

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise


def attribute_docstrings(kind: type) -> Mapping[str, str]:
    """Return what stands under each attribute of a class, and of the classes of the same package that it comes from.

    Empty for a class inside of a function, and where a program is installed without its source.
    """
    docstrings: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if _package(one) == _package(kind):
            docstrings |= _of_module(one.__module__).get(one.__qualname__, {})
    return docstrings


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


@cache
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return the docstrings of each class; a module is read once, however many classes it has."""
    try:
        source = inspect.getsource(sys.modules[name])
    except (KeyError, OSError, TypeError):
        return {}
    return {node.name: _of_class(node) for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> Mapping[str, str]:
    return {
        name: inspect.cleandoc(below.value.value)
        for statement, below in pairwise(node.body)
        if (name := _assigned(statement)) is not None
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def _assigned(statement: ast.stmt) -> str | None:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case _:
            return None
