"""Every rule has its sabotage, and every sabotage fits the code as it stands."""

import ast

import pytest

from tests.sabotage.catalogue import RULES, SABOTAGES, Sabotage
from tests.sabotage.runner import ROOT, find_old_text

MOST_LINES = 5


def _title(sabotage: Sabotage) -> str:
    return sabotage.title


def test_each_rule_has_a_sabotage() -> None:
    assert {one.rule for one in SABOTAGES} == set(RULES)


def test_titles_tell_sabotages_apart() -> None:
    assert len({one.title for one in SABOTAGES}) == len(SABOTAGES)


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=_title)
def test_a_sabotage_fits_the_code(sabotage: Sabotage) -> None:
    content = find_old_text(sabotage)

    ast.parse(content.replace(sabotage.old, sabotage.new))
    assert 1 <= sabotage.changed_lines <= MOST_LINES


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=_title)
def test_a_sabotage_names_tests_that_exist(sabotage: Sabotage) -> None:
    assert sabotage.tests
    for test in sabotage.tests:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        assert name in {one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
