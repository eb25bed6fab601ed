"""``celadon down``: what it says and how it ends; what it does to a stack is tested with the stack."""

import json
from pathlib import Path

from celadon.stack.layout import DataDirectory
from celadon.stack.settings import StackSettings
from tests.cli.conftest import Command


async def test_no_stack_at_all_is_a_mistake(tmp_path: Path, command: Command) -> None:
    result = await command("down", "--data-dir", str(tmp_path / "nowhere"))

    assert result.exit_code == 1
    assert f"there is no stack in {tmp_path / 'nowhere'}" in result.stderr


async def test_a_stack_that_does_not_run_is_done(tmp_path: Path, command: Command) -> None:
    StackSettings.load(DataDirectory.create(tmp_path).settings_file)

    result = await command("down", "--data-dir", str(tmp_path))

    assert result.exit_code == 0
    assert result.stdout.strip() == f"No stack runs in {tmp_path}."


async def test_programs_read_what_was_stopped(tmp_path: Path, command: Command) -> None:
    StackSettings.load(DataDirectory.create(tmp_path).settings_file)

    result = await command("down", "--data-dir", str(tmp_path), "-o", "json")

    assert json.loads(result.stdout) == {"data_dir": str(tmp_path), "pid": None, "ended": []}


async def test_a_stack_that_does_not_end_in_time_is_said(tmp_path: Path, command: Command) -> None:
    directory = DataDirectory.create(tmp_path)
    with directory.locked() as held:
        # This process holds it, and is not asked, since it says that it stops.
        held.note(is_stopping=True)
        result = await command("down", "--data-dir", str(tmp_path), "--timeout", "200ms")

    assert result.exit_code == 1
    assert "has not ended within 0.2s; it goes on stopping" in result.stderr
