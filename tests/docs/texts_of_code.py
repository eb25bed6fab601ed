"""What Celadon says: every text in its code, with ``…`` for what is filled in."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.docs.tables import REPOSITORY

ROOMS = ("activities", "celadon", "worker", "workflows")
HOLE = "…"


@cache
def texts_of_code() -> tuple[str, ...]:
    """Return every text in the code of the product, docstrings left out."""
    return texts_of(*ROOMS)


def texts_of(*rooms: str) -> tuple[str, ...]:
    """Return every text in the code of some rooms, docstrings left out."""
    return tuple(text for room in rooms for path in sorted((REPOSITORY / room).rglob("*.py")) for text in _texts(path))


def _texts(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    left_out |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
