"""The selections of tests that the Makefile runs: none is left out, and none runs twice."""

import itertools
import shlex
import subprocess
from pathlib import Path
from typing import Final

import pytest
from _pytest.mark.expression import Expression

ROOT: Final = Path(__file__).parent.parent
MARKERS: Final = ("parts", "stack", "shared", "exclusive", "smoke")
APART: Final = "servers"
"""The marker of tests that only ``make test-servers`` runs."""


def pytest_commands(*targets: str) -> list[list[str]]:
    """Return the arguments of each pytest that make would run for some targets, in order."""
    printed = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", *targets],  # noqa: S607 - whichever make a person has
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    commands = [shlex.split(line) for line in printed.splitlines()]
    return [words[words.index("pytest") + 1 :] for words in commands if words[1:3] == ["-m", "pytest"]]


def selections(*targets: str) -> list[Expression]:
    """Return which tests each pytest of some targets runs, as expressions over their markers."""
    return [Expression.compile(arguments[arguments.index("-m") + 1]) for arguments in pytest_commands(*targets)]


def runs_of_each_kind(*targets: str) -> dict[frozenset[str], int]:
    """Return how often the targets run a test, by the markers that it may have."""
    chosen = selections(*targets)
    kinds = [frozenset(marks) for count in range(len(MARKERS) + 1) for marks in itertools.combinations(MARKERS, count)]
    return {
        kind: sum(expression.evaluate(lambda name, /, **_: name in kind) for expression in chosen)  # noqa: B023
        for kind in kinds
    }


def test_model_servers_run_by_a_target_of_their_own() -> None:
    """They need environments that no other target installs."""
    for expression in selections("check", "rest", "test"):
        assert not expression.evaluate(lambda name, /, **_: name == APART)
    assert [str(arguments) for arguments in pytest_commands("test-servers")] == [str(["-m", APART])]


def ci_targets() -> list[str]:
    """Return the targets that ``.ci/run`` makes."""
    commands = [line.split() for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    return [target for words in commands if words[:1] == ["make"] for target in words[1:]]


@pytest.mark.parametrize("targets", [ci_targets(), ["test"]], ids=" ".join)
def test_each_test_runs_once(targets: list[str]) -> None:
    assert set(runs_of_each_kind(*targets).values()) == {1}


def test_the_quick_checks_and_the_rest_are_what_ci_runs() -> None:
    assert ci_targets() == ["check", "rest"]


@pytest.mark.parametrize("target", ["check", "rest", "test"])
def test_nothing_but_markers_selects_tests(target: str) -> None:
    """No path, no ``-k``: an option stands there with its value."""
    with_values = {"-m", "--numprocesses", "--dist"}
    for arguments in pytest_commands(target):
        words = iter(arguments)
        for word in words:
            assert word in with_values | {"-q"}
            if word in with_values:
                next(words)


def test_selections_name_no_other_markers() -> None:
    asked = set[str]()

    def note(name: str, /, **_: object) -> bool:
        asked.add(name)
        return False

    for expression in selections("check", "rest", "test"):
        expression.evaluate(note)

    assert asked <= {*MARKERS, APART}
