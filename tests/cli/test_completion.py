"""Completion in the shell, as a shell asks for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from celadon.cli.completion import names_of_table
from celadon.table.core.engine import Table
from tests.table.rows import Rows


def _complete(*words: str, directory: Path) -> list[str]:
    """Return what a shell is offered for the last of ``words``."""
    celadon = shutil.which("celadon", path=str(Path(sys.executable).parent))
    assert celadon is not None
    done = subprocess.run(
        [celadon],
        env={
            **os.environ,
            "_CELADON_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(("celadon", *words)),
            "COMP_CWORD": str(len(words)),
        },
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_are_completed(tmp_path: Path) -> None:
    assert _complete("pro", directory=tmp_path) == ["promote", "profile"]


def test_without_a_celadon_nothing_is_said(tmp_path: Path) -> None:
    assert _complete("promote", "ch", directory=tmp_path) == []


def test_an_api_that_is_away_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELADON_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CELADON_TOKEN", "celadon_t")

    assert _complete("promote", "ch", directory=tmp_path) == []


def test_profiles_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "celadon" / "config.toml"
    file.parent.mkdir()
    file.touch(mode=0o600)
    file.write_text(
        '[profiles.staging]\nurl = "https://a"\ntoken = "t"\n[profiles.prod]\nurl = "https://b"\ntoken = "t"\n'
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    assert _complete("rollout", "list", "--profile", "st", directory=tmp_path) == ["staging"]


async def test_names_of_deployments_are_found_in_the_table(rows: Rows, on_table: Table) -> None:
    await rows.live()

    assert await names_of_table(on_table.database_url) == ["chat"]
