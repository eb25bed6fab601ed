"""Breaks a copy of the repository, one sabotage at a time, and runs the tests that must see it."""

import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.sabotage.catalogue import Sabotage
from tests.sabotage.syntax import PlaceError, replace_once

ROOT: Final = Path(__file__).parent.parent.parent
_LEFT_OUT: Final = shutil.ignore_patterns(
    ".venv",
    ".servers",
    ".git",
    "__pycache__",
    ".hypothesis",
    ".celadon",
    ".*_cache",
    "dist",
    "*.egg-info",
)
_TIMEOUT_SECONDS: Final = 1200.0
"""A test that turns red waits for its own deadline first, and there may be several."""


class Verdict(StrEnum):
    """What became of a sabotage."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    NOT_RUN = "NOT RUN"
    """The tests did not fail, they did not run: the patch proves nothing."""


@dataclass(frozen=True)
class Finding:
    """One sabotage and what became of it."""

    sabotage: Sabotage
    verdict: Verdict
    red: tuple[str, ...]
    """The tests that failed, without their parameters."""
    seconds: float
    output: str = ""
    """The end of what pytest printed, unless the sabotage was caught."""

    def as_json(self) -> dict[str, object]:
        """Return what the file of findings says."""
        sabotage = asdict(self.sabotage) | {"file": self.sabotage.file}
        return asdict(self) | {"sabotage": sabotage, "verdict": self.verdict.value}


class CatalogueError(Exception):
    """A sabotage does not fit the code any more."""


def broken_content(sabotage: Sabotage, content: str) -> str:
    """Return what the file of a sabotage contains once it is broken.

    Raises:
        CatalogueError: the place that the sabotage breaks does not stand there exactly once.

    """
    try:
        return replace_once(content, sabotage.definition, sabotage.old, sabotage.new)
    except PlaceError as error:
        raise CatalogueError(f"'{sabotage.title}': in {sabotage.file}, {error}") from error


class Copy:
    """A copy of the repository that may be broken."""

    def __init__(self, directory: Path) -> None:
        """Copy everything that tests need; only the virtual environment stays shared."""
        self.root = directory / "celadon"
        shutil.copytree(ROOT, self.root, ignore=_LEFT_OUT, symlinks=True)

    @contextmanager
    def broken(self, sabotage: Sabotage) -> Iterator[None]:
        """Apply a sabotage, and take it back."""
        path = self.root / sabotage.file
        content = path.read_text()
        path.write_text(broken_content(sabotage, content))
        try:
            yield
        finally:
            path.write_text(content)

    def environment(self) -> dict[str, str]:
        """Return the environment in which a Python and all its children import the copy."""
        return os.environ | {
            "PYTHONPATH": str(self.root),
            # A patch may have the size and the second of what it replaces.
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, tests: Iterable[str]) -> "Run":
        """Run tests on the copy."""
        report = self.root.parent / "report.xml"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        return Run.read(report, done.stdout)


@dataclass(frozen=True)
class Run:
    """What one run of pytest said."""

    passed: frozenset[str]
    failed: frozenset[str]
    errors: frozenset[str]
    """Tests that could not run, or were not even collected."""
    output: str

    @classmethod
    def read(cls, report: Path, output: str) -> "Run":
        """Read pytest's own report."""
        passed, failed, errors = set[str](), set[str](), set[str]()
        cases = ET.parse(report).iter("testcase") if report.exists() else ()  # noqa: S314 - pytest has written it
        for case in cases:
            name = f"{case.get('classname', '')}.{case.get('name', '')}".split("[", maxsplit=1)[0]
            if case.find("error") is not None:
                errors.add(name)
            elif case.find("failure") is not None:
                failed.add(name)
            elif case.find("skipped") is None:
                passed.add(name)
        return cls(frozenset(passed), frozenset(failed), frozenset(errors), output)


def dotted(test: str) -> str:
    """Return the name of a test as pytest's report has it."""
    path, _, name = test.partition("::")
    return f"{path.removesuffix('.py').replace('/', '.')}.{name}"


def try_out(copy: Copy, sabotage: Sabotage) -> Finding:
    """Break the copy and see whether a named test turns red by an assertion or an error of its own."""
    began = time.monotonic()
    with copy.broken(sabotage):
        run = copy.run(sabotage.tests)
    named = {dotted(test): test for test in sabotage.tests}
    red = tuple(named[name] for name in sorted(run.failed & named.keys()))
    if red and not run.errors:
        verdict = Verdict.CAUGHT
    elif run.passed >= named.keys():
        verdict = Verdict.SURVIVED
    else:
        verdict = Verdict.NOT_RUN
    output = "" if verdict is Verdict.CAUGHT else run.output[-4000:]
    return Finding(sabotage, verdict, red, round(time.monotonic() - began, 1), output)


def run_unbroken(copy: Copy, sabotages: Sequence[Sabotage]) -> frozenset[str]:
    """Return the named tests that are not green without any sabotage."""
    tests = sorted({test for sabotage in sabotages for test in sabotage.tests})
    run = copy.run(tests)
    return frozenset(
        test for test in tests if dotted(test) in run.failed | run.errors or dotted(test) not in run.passed
    )
