"""The page that compares Celadon with other tools names a test for whatever it says that Celadon does."""

import ast
import re
from functools import cache

import pytest

from celadon.domain.language.policy import LATER_KEYS, BlueGreenPolicy
from tests.docs.tables import REPOSITORY

PAGE = REPOSITORY / "docs" / "parity.md"
COLUMNS = ["the peer's case", "the peer", "Celadon", "shown by", "where it differs, why"]
PEERS = ("Argo Rollouts", "Backend.AI", "KubeRay", "Kamal", "Amazon ECS", "Flagger")
NOT_THERE = "Not there: "

_TEST = re.compile(r"`([\w./]+\.py)::(\w+)`")
_SEPARATOR = re.compile(r"[-\s|]+")


def rows() -> list[list[str]]:
    """Return the cells of every row; each table begins with the same columns."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if not _SEPARATOR.fullmatch(line)
    ]
    found = [row for row in cells if row != COLUMNS]
    assert len(found) >= 40
    return found


@cache
def names_of_tests(file: str) -> frozenset[str]:
    """Return the names of the tests of a file, those that are parametrised without their ids."""
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, kinds) and one.name.startswith("test_"))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_a_row_says_everything_of_its_case(row: list[str]) -> None:
    assert len(row) == len(COLUMNS), row
    assert all(row)
    assert any(peer in row[0] for peer in PEERS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_the_test_that_a_row_names_is_there(row: list[str]) -> None:
    for file, test in _TEST.findall(row[3]):
        assert file.startswith("tests/")
        assert test in names_of_tests(file), f"{file}::{test}"


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_whatever_celadon_does_is_shown_by_a_test(row: list[str]) -> None:
    names_tests = all(_TEST.fullmatch(one) for one in row[3].split(", "))

    assert names_tests or (row[2].startswith(NOT_THERE) and row[3] == "none")


def test_what_is_not_there_names_every_key_that_is_refused_and_no_other() -> None:
    absent = {name for row in rows() if row[2].startswith(NOT_THERE) for name in re.findall(r"`(\w+)`", row[2])}

    assert absent >= LATER_KEYS
    assert not absent & set(BlueGreenPolicy.model_fields)


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_is_compared(peer: str) -> None:
    assert any(peer in row[0] for row in rows())


def test_readme_leads_to_the_page() -> None:
    assert "](docs/parity.md)" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
