"""No request of Celadon's processes has aiohttp's own time limit, with which a cancellation can be lost."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("celadon", "worker", "activities")
FILES = sorted(file for name in PACKAGES for file in (Path(__file__).parent.parent / name).rglob("*.py"))


def _totals(file: Path) -> Iterator[ast.expr]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ClientTimeout"):
            given = {one.arg: one.value for one in node.keywords}
            assert not node.args
            yield given["total"]


@pytest.mark.parametrize("file", [file for file in FILES if "ClientTimeout" in file.read_text(encoding="utf-8")])
def test_requests_are_bounded_by_asyncio(file: Path) -> None:
    assert {ast.unparse(total) for total in _totals(file)} == {"None"}
