"""Building sdist and wheel as packagers do, without writing into the checkout."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.deploy.files import ROOT, read_image

BUILD_SECONDS: Final = 300.0


def project() -> dict[str, Any]:
    """Return ``pyproject.toml``."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


class NoIndexError(Exception):
    """The tools of the build are not on this machine, and no package index gives them."""


@dataclass(frozen=True)
class Builder:
    """An environment with what the build needs and nothing else, since that would stand in the way of the tests'."""

    python: Path

    @classmethod
    def create(cls, directory: Path) -> "Builder":
        """Install the tools that ``pyproject.toml`` names.

        Raises:
            NoIndexError: they cannot be had.

        """
        venv.create(directory)
        python = directory / "bin" / "python"
        pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet")
        ran = subprocess.run(
            [*pip, *project()["build-system"]["requires"]],
            check=False,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
        )
        if ran.returncode != 0:
            raise NoIndexError(ran.stderr)
        return cls(python)

    def build(self, target: str, source: Path, into: Path) -> Path:
        """Build the sdist or the wheel of a source tree; return the file."""
        into.mkdir()
        subprocess.run(
            [str(self.python), "-m", "hatchling", "build", "--target", target, "--directory", str(into)],
            cwd=source,
            check=True,
            capture_output=True,
            timeout=BUILD_SECONDS,
        )
        [built] = into.iterdir()
        return built


def copy_for_image(into: Path) -> Path:
    """Copy what the Dockerfile copies for the build of the wheel."""
    into.mkdir()
    copies = [one.value.split() for stage in read_image().stages for one in stage if one.name == "COPY"]
    for name in [name for copy in copies if not copy[0].startswith("--from") for name in copy[:-1]]:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, into / name, ignore=shutil.ignore_patterns("__pycache__", "descriptors.binpb"))
        else:
            shutil.copy(source, into / name)
    return into


def unpack(sdist: Path, into: Path) -> Path:
    """Unpack an sdist; return the root of its source tree."""
    with tarfile.open(sdist) as archive:
        # Of our own making; Python 3.11 knows filters since 3.11.4 only.
        archive.extractall(into)  # noqa: S202
    [root] = into.iterdir()
    return root
