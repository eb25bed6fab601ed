"""Environments that hold a wheel of Celadon, what its metadata asks for, and nothing else.

What other projects bring is not downloaded once more: it is linked from the environment of the tests, each distribution
by its own list of files. So a requirement that Celadon forgot is missing here as it would be on a user's machine.
"""

import json
import os
import subprocess
import sys
import venv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PathDistribution, distribution, distributions
from pathlib import Path, PurePosixPath
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

COMMAND_SECONDS: Final = 120.0
_CELADON: Final = "celadon"

_COMMAND_LINES: Final = """
import json, os, sys, tempfile
from celadon.cli.main import main

ended = []
for line in json.loads(sys.argv[1]):
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        pid = os.fork()
        if pid == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            sys.argv = ["celadon", *line.split()]
            main()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        output.seek(0)
        errors.seek(0)
        ended.append([line, code, output.read(), errors.read()])
print(json.dumps(ended))
"""
"""Runs each command line in a process of its own, which need not import the command line once more."""


@dataclass(frozen=True)
class Ended:
    """How a command line ended, and what it printed."""

    exit_code: int
    output: str
    errors: str


@dataclass(frozen=True)
class CleanEnvironment:
    """A virtual environment without pip, seen from a directory outside the checkout."""

    directory: Path
    working_directory: Path

    @classmethod
    def create(cls, directory: Path, wheel: Path, working_directory: Path, extra: str = "") -> "CleanEnvironment":
        """Install a wheel, with one of its extras."""
        venv.create(directory)
        environment = cls(directory, working_directory)
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--python", str(environment.program("python")), "install"),
                *("--quiet", "--no-deps", "--no-index", str(wheel)),
            ],
            check=True,
            capture_output=True,
            timeout=COMMAND_SECONDS,
        )
        [metadata] = environment.packages.glob("celadon-*.dist-info")
        _link(_needed(PathDistribution(metadata), extra), environment.packages)
        return environment

    @property
    def packages(self) -> Path:
        """Its ``site-packages``."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.directory / "lib" / version / "site-packages"

    def program(self, name: str) -> Path:
        """Return where a program of the environment is."""
        return self.directory / "bin" / name

    @property
    def variables(self) -> dict[str, str]:
        """The least that a program needs: nothing of the checkout, of this process, or of another Celadon."""
        path = os.pathsep.join([str(self.directory / "bin"), "/usr/bin", "/bin"])
        return {"PATH": path, "HOME": str(self.working_directory), "TERM": "dumb", "COLUMNS": "200"}

    def run(
        self,
        *command: str,
        variables: Mapping[str, str] | None = None,
        seconds: float = COMMAND_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its programs to the end."""
        return subprocess.run(
            [str(self.program(command[0])), *command[1:]],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.working_directory,
            env={**self.variables, **(variables or {})},
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )

    def run_lines(self, lines: Iterable[str], variables: Mapping[str, str] | None = None) -> dict[str, Ended]:
        """Run command lines of ``celadon`` to their ends, one after the other; return how each ended."""
        ran = self.run("python", "-P", "-c", _COMMAND_LINES, json.dumps([*lines]), variables=variables)
        assert ran.returncode == 0, ran.stderr
        return {line: Ended(*ended) for line, *ended in json.loads(ran.stdout)}


def names_needed(of: Distribution, extra: str = "") -> set[str]:
    """Return the names of all distributions that one needs with one of its extras, themselves and by each other."""
    return {canonicalize_name(one.name) for one in _needed(of, extra)}


def _needed(of: Distribution, extra: str) -> Sequence[Distribution]:
    found: dict[str, Distribution] = {}
    done: set[tuple[str, str]] = set()

    def follow(one: Distribution, wanted: str) -> None:
        name = canonicalize_name(one.name)
        if (name, wanted) in done:
            return
        done.add((name, wanted))
        if name != _CELADON:
            found[name] = one
        for line in one.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted}):
                needed = of if canonicalize_name(requirement.name) == _CELADON else distribution(requirement.name)
                for further in ("", *requirement.extras):
                    follow(needed, further)

    follow(of, "")
    follow(of, extra)
    return tuple(found.values())


def _link(wanted: Iterable[Distribution], packages: Path) -> None:
    """Link distributions into ``packages``: a folder at the top as a whole where one distribution alone owns it."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for one in distributions():
        name = canonicalize_name(one.name)
        for file in one.files or ():
            owners[file.parts[0]].add(name)
    for one in wanted:
        links: dict[PurePosixPath, Path] = {}
        for file in one.files or ():
            top = file.parts[0]
            if top == "__pycache__" or (top == ".." and _is_script(Path(str(file.locate())))):
                continue
            link = file if top == ".." or len(owners[top]) > 1 else PurePosixPath(top)
            links[link] = Path(str(one.locate_file(link)))
        for link, target in links.items():
            place = Path(os.path.normpath(packages / link))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target.resolve())


def _is_script(file: Path) -> bool:
    """Whether a file of ``bin`` is started by another environment's Python."""
    with file.open("rb") as content:
        return content.read(2) == b"#!"
