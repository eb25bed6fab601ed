"""A local stack that was killed: what it left behind is found, and ended."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from celadon.stack.left_behind import RunningChild, child_mark, left_children, record_children
from celadon.stack.process import start_time
from tests.cli.doctor.conftest import Doctor, not_fine
from tests.stack.processes import is_running, until
from tests.stack.stack_process import stack_process
from tests.stack.test_replicas_of_stack import deploy, replica_processes


@pytest.mark.stack
@pytest.mark.shared
async def test_replicas_that_outlived_a_killed_stack(doctor: Doctor, reachable_directory: Path) -> None:
    data_dir = reachable_directory / "killed-stack"
    data_dir.mkdir(mode=0o711)
    here = ("--data-dir", str(data_dir))
    async with stack_process(data_dir) as stack:
        await deploy(await stack.until_ready())
        assert (await doctor(*here))[0] == 0
        await stack.stop(signal.SIGKILL)
    # The kernel ends the stack's own children, which takes a moment.
    await until(lambda: not left_children(data_dir / "children.json"))
    replicas = replica_processes(data_dir)
    assert len(replicas) == 2

    code, found = await doctor(*here)
    assert (code, sorted(not_fine(found).values())) == (1, ["wrong"] * 3)
    assert f"celadon up --data-dir {data_dir}" in found["stack"]["next_step"]
    assert replica_processes(data_dir) == replicas

    _, mended = await doctor("--fix", *here)
    assert sorted(not_fine(mended).values()) == ["mended", "mended", "wrong"]
    assert replica_processes(data_dir) == set()

    assert not_fine((await doctor(*here))[1]) == {"stack": "wrong"}


def recorded(name: str, pid: int, started_at: float) -> RunningChild:
    user = os.geteuid()
    return RunningChild(name=name, pid=pid, user=user, started_at=started_at, kill_signal=signal.SIGKILL)


async def test_a_child_that_was_left_behind(doctor: Doctor, tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec("sleep", "600", env={**os.environ, **child_mark(tmp_path)})
    started_at = start_time(child.pid)
    assert started_at is not None
    (tmp_path / "settings.json").write_text("{}")
    record_children(
        tmp_path / "children.json",
        [
            recorded("gateway", child.pid, started_at),
            # The same id as another process's of an hour ago, which is not this one.
            recorded("router", child.pid, started_at - 3600),
        ],
    )
    here = ("--data-dir", str(tmp_path))

    _, found = await doctor(*here)
    assert not_fine(found) == {"stack": "wrong", f"process {child.pid}": "wrong"}
    assert is_running(child.pid)

    _, mended = await doctor("--fix", *here)
    assert not_fine(mended) == {"stack": "wrong", f"process {child.pid}": "mended"}
    assert mended[f"process {child.pid}"]["told"].startswith("gateway")
    await child.wait()
    assert not_fine((await doctor(*here))[1]) == {"stack": "wrong"}
