"""Every rule has its sabotage, and every sabotage fits the code as it stands."""

import ast
from difflib import SequenceMatcher

import pytest

from tests.sabotage.catalogue import RULES, SABOTAGES, Sabotage
from tests.sabotage.runner import ROOT, broken_content

MOST_LINES = 5


def _title(sabotage: Sabotage) -> str:
    return sabotage.title


def test_each_rule_has_a_sabotage() -> None:
    assert {one.rule for one in SABOTAGES} == set(RULES)


def test_titles_tell_sabotages_apart() -> None:
    assert len({one.title for one in SABOTAGES}) == len(SABOTAGES)


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=_title)
def test_a_sabotage_finds_exactly_one_place(sabotage: Sabotage) -> None:
    content = (ROOT / sabotage.file).read_text()

    broken = broken_content(sabotage, content)

    assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(content))
    assert 1 <= changed_lines(content, broken) <= MOST_LINES


def changed_lines(before: str, after: str) -> int:
    """Return how many lines differ."""
    matcher = SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    return sum(
        max(old_end - old, new_end - new)
        for kind, old, old_end, new, new_end in matcher.get_opcodes()
        if kind != "equal"
    )


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=_title)
def test_a_sabotage_names_tests_that_exist(sabotage: Sabotage) -> None:
    assert sabotage.tests
    for test in sabotage.tests:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        assert name in {one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
