"""Programs that tests take from Debian's packages, because no wheel has them."""

import os
import shutil

import pytest

_DIRECTORIES = "/usr/sbin"
"""Where packages put servers, beside what is on the path."""


def debian_program(name: str, package: str | None = None) -> str:
    """Return a program; a test without it is skipped by name, or fails where CI is set, which installs it."""
    found = shutil.which(name) or shutil.which(name, path=_DIRECTORIES)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"there is no {name}: .ci/run installs it")
        pytest.skip(f"there is no {name}: apt-get install {package or name}")
    return found
