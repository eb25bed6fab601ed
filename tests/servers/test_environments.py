"""A server that is not installed is said, with the command that installs it; these tests need no server."""

import os
from pathlib import Path

import pytest

from tests.servers.environments import MODELS, EnvironmentMissingError, environment_of


def test_a_missing_environment_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissingError, match=r"litserve is missing: .*'make \.servers/litserve/\.installed'"):
        environment_of("litserve", tmp_path)


def test_an_environment_that_is_older_than_its_requirements_counts_as_missing(tmp_path: Path) -> None:
    installed = tmp_path / "litserve" / ".installed"
    installed.parent.mkdir()
    installed.touch()
    assert environment_of("litserve", tmp_path) == installed.parent

    before = (MODELS / "litserve" / "requirements.lock").stat().st_mtime - 1
    os.utime(installed, (before, before))

    with pytest.raises(EnvironmentMissingError, match=r"older than tests/servers/models/litserve/requirements\.lock"):
        environment_of("litserve", tmp_path)
