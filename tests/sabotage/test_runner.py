"""The runner tells a sabotage that was caught from one that survived, and from one that proves nothing."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sabotage.catalogue import SABOTAGES, Sabotage
from tests.sabotage.runner import ROOT, CatalogueError, Copy, Verdict, run_unbroken, try_out

pytestmark = pytest.mark.parts

ABORT = next(one for one in SABOTAGES if one.title == "abort only a healthy green")
LOCKS = next(one for one in SABOTAGES if one.title == "let a rollout that ended go on")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Return a copy of the repository."""
    return Copy(tmp_path_factory.mktemp("sabotage"))


@pytest.mark.parametrize("sabotage", [ABORT, LOCKS], ids=["in a decision", "in the table"])
def test_a_sabotage_that_breaks_a_rule_is_caught(copy: Copy, sabotage: Sabotage) -> None:
    assert run_unbroken(copy, [sabotage]) == frozenset()

    finding = try_out(copy, sabotage)

    assert (finding.verdict, finding.red) == (Verdict.CAUGHT, sabotage.tests), finding.output
    assert (copy.root / sabotage.file).read_text() == (ROOT / sabotage.file).read_text()


def test_a_sabotage_that_breaks_nothing_survives(copy: Copy) -> None:
    harmless = replace(ABORT, new=ABORT.old)

    assert try_out(copy, harmless).verdict is Verdict.SURVIVED


def test_a_sabotage_that_breaks_the_import_proves_nothing(copy: Copy) -> None:
    broken = replace(ABORT, definition="", old="from datetime import datetime", new="import nothing_of_that_name")

    assert try_out(copy, broken).verdict is Verdict.NOT_RUN


@pytest.mark.parametrize("old", ["a_name_that_is_not_there", "request"])
def test_a_place_that_does_not_stand_there_once_is_an_error(copy: Copy, old: str) -> None:
    with pytest.raises(CatalogueError, match=rf"'{ABORT.title}': in {ABORT.file}, .* stands \d+ times"):
        try_out(copy, replace(ABORT, old=old))


def test_children_import_the_copy(copy: Copy, tmp_path: Path) -> None:
    """Wherever they are started, and although the virtual environment knows another tree."""
    told = subprocess.run(
        [sys.executable, "-c", "import celadon, workflows; print(celadon.__file__, workflows.__file__)"],
        cwd=tmp_path,
        env=copy.environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert all(path.startswith(str(copy.root)) for path in told.stdout.split())
