"""The lock of a deployment is proved by a value that nothing but the lock gives."""

import ast
from pathlib import Path

from celadon.table.core import locks

ROOT = Path(__file__).parent.parent.parent.parent
LOCKS = {"DeploymentLock", "LockedDeployment"}


def _makes_a_lock(path: Path) -> bool:
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return any(isinstance(called, ast.Name | ast.Attribute) and _name(called) in LOCKS for called in calls)


def _name(called: ast.Name | ast.Attribute) -> str:
    return called.id if isinstance(called, ast.Name) else called.attr


def test_no_module_but_that_of_the_locks_makes_one() -> None:
    modules = [path for room in ("activities", "celadon", "worker") for path in (ROOT / room).rglob("*.py")]

    assert [path for path in modules if _makes_a_lock(path)] == [Path(locks.__file__)]
