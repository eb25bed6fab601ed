"""Processes that outlived their stack."""

import asyncio
import os
import signal
from pathlib import Path

from celadon.owned_files import write_file
from celadon.stack.left_behind import RunningChild, child_mark, end_left_behind, record_children
from celadon.stack.process import start_time
from tests.stack.processes import is_running


async def sleeper(stack: Path) -> tuple[asyncio.subprocess.Process, float]:
    """Start a process as the stack in the data directory ``stack`` does."""
    process = await asyncio.create_subprocess_exec("sleep", "600", env={**os.environ, **child_mark(stack)})
    started_at = start_time(process.pid)
    assert started_at is not None
    return process, started_at


def recorded(pid: int, started_at: float) -> RunningChild:
    return RunningChild(
        name="sleeper",
        pid=pid,
        user=os.geteuid(),
        started_at=started_at,
        kill_signal=signal.SIGTERM,
    )


async def test_a_recorded_process_that_still_runs_is_ended(tmp_path: Path) -> None:
    process, started_at = await sleeper(tmp_path)
    record_children(tmp_path / "children.json", [recorded(process.pid, started_at)])
    await end_left_behind(tmp_path / "children.json")
    assert not is_running(process.pid)


async def test_another_process_with_the_same_id_is_left_alone(tmp_path: Path) -> None:
    process, started_at = await sleeper(tmp_path)
    record_children(tmp_path / "children.json", [recorded(process.pid, started_at - 3600)])
    await end_left_behind(tmp_path / "children.json")
    assert process.returncode is None
    process.kill()
    await process.wait()


async def test_a_record_that_cannot_be_read_ends_nothing(tmp_path: Path) -> None:
    write_file(tmp_path / "children.json", "half a rec", mode=0o600)
    await end_left_behind(tmp_path / "children.json")


async def test_no_record_ends_nothing(tmp_path: Path) -> None:
    await end_left_behind(tmp_path / "children.json")
