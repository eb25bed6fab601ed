"""Stopping a stack from another terminal."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from celadon.stack.environment import python_environment
from celadon.stack.errors import DirectoryInUseError, StackError
from celadon.stack.layout import DataDirectory
from celadon.stack.left_behind import RunningChild, child_mark, record_children
from celadon.stack.settings import StackSettings
from celadon.stack.shutdown import stop_stack
from celadon.stack.stack import Stack
from tests.stack.processes import is_running, until
from tests.stack.stack_process import stack_process

DATABASES = ("postgres", "temporal")


def known_directory(path: Path) -> DataDirectory:
    """Return a directory in which a stack has run."""
    directory = DataDirectory.create(path)
    StackSettings.load(directory.settings_file)
    return directory


@contextmanager
def child_of(directory: DataDirectory) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that a stack which was killed left behind."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, env={**os.environ, **child_mark(directory.path)}) as process:
        try:
            started_at = psutil.Process(process.pid).create_time()
            child = RunningChild(
                name="api",
                pid=process.pid,
                user=os.getuid(),
                started_at=started_at,
                kill_signal=signal.SIGKILL,
            )
            record_children(directory.children_file, [child])
            yield process
        finally:
            process.kill()


@contextmanager
def holder_of(directory: DataDirectory, once_told: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds a directory as a stack does, and does ``once_told`` at SIGTERM."""
    program = (
        "import pathlib, signal, sys, time\n"
        "from celadon.stack.layout import DataDirectory\n"
        "told = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: told.append(1))\n"
        f"with DataDirectory(pathlib.Path({str(directory.path)!r})).locked() as held:\n"
        "    print('ready', flush=True)\n"
        "    while not told: time.sleep(0.01)\n"
        f"    {once_told}\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=python_environment({}), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.stack
@pytest.mark.shared
async def test_stops_a_stack_and_returns_when_all_of_it_is_gone(data_dir: Path) -> None:
    async with stack_process(data_dir, *DATABASES) as process:
        addresses = await process.until_ready()

        stopped = await stop_stack(data_dir)

        assert (stopped.pid, stopped.ended) == (addresses.pid, ())
        assert [pid for pid in (addresses.pid, *addresses.children.values()) if is_running(pid)] == []
        assert await process.process.wait() == 0


@pytest.mark.stack
@pytest.mark.shared
async def test_stops_a_stack_that_is_still_starting(data_dir: Path) -> None:
    async with stack_process(data_dir, *DATABASES) as process:
        await until((data_dir / "settings.json").exists)

        stopped = await stop_stack(data_dir)

        assert stopped.pid == process.process.pid
        assert await process.process.wait() == 0


async def test_waits_until_the_process_has_ended(tmp_path: Path) -> None:
    directory = known_directory(tmp_path)
    with holder_of(directory, "time.sleep(1); print('gone', flush=True)") as process:
        stopped = await stop_stack(directory.path)

        assert stopped.pid == process.pid
        assert process.stdout is not None
        assert process.stdout.read() == "gone\n"


async def test_does_not_ask_a_stack_twice_since_that_would_end_it_at_once(tmp_path: Path) -> None:
    directory = known_directory(tmp_path)
    stopping = "held.note(is_stopping=True); told.clear(); time.sleep(1); print(f'told {len(told)} more', flush=True)"
    with holder_of(directory, stopping) as process:
        process.terminate()
        await until(lambda: directory.holder()[1])

        await stop_stack(directory.path)

        assert process.stdout is not None
        assert process.stdout.read() == "told 0 more\n"


async def test_a_stack_that_does_not_run_is_stopped_already(tmp_path: Path) -> None:
    directory = known_directory(tmp_path)
    stopped = await stop_stack(directory.path)
    assert (stopped.pid, stopped.ended) == (None, ())


async def test_ends_what_a_stack_that_was_killed_has_left(tmp_path: Path) -> None:
    directory = known_directory(tmp_path)
    with child_of(directory) as left:
        stopped = await stop_stack(directory.path)

        assert stopped.pid is None
        assert stopped.ended == (f"api (process {left.pid})",)
        assert not is_running(left.pid)


@pytest.mark.parametrize("name", ["nowhere", "project"])
async def test_a_directory_without_a_stack_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "project").mkdir()
    with pytest.raises(StackError, match="there is no stack in"):
        await stop_stack(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
async def test_a_stack_of_another_user_is_left_to_that_user(tmp_path: Path) -> None:
    directory = known_directory(tmp_path / "stack")
    os.chown(directory.path, 12345, -1)
    with pytest.raises(StackError, match="run Celadon as that user"):
        await stop_stack(directory.path)


async def test_a_holder_that_cannot_be_seen_from_here_is_said(tmp_path: Path) -> None:
    directory = known_directory(tmp_path)
    with directory.locked():
        directory.lock_file.write_text("999999999\n")
        with pytest.raises(StackError, match="runs in another container, or on another machine"):
            await stop_stack(directory.path)


async def test_another_process_with_the_number_of_a_holder_is_left_alone(tmp_path: Path) -> None:
    directory = known_directory(tmp_path)
    with child_of(directory) as other, directory.locked():
        directory.lock_file.write_text(f"{other.pid}\n")
        with pytest.raises(StackError, match="does not hold the lock"):
            await stop_stack(directory.path)
        assert is_running(other.pid)


@pytest.mark.stack
@pytest.mark.shared
async def test_a_second_start_says_where_the_running_stack_is_and_how_it_is_stopped(data_dir: Path) -> None:
    async with stack_process(data_dir, *DATABASES) as process:
        addresses = await process.until_ready()
        with pytest.raises(DirectoryInUseError) as refused:
            await asyncio.wait_for(Stack(data_dir).__aenter__(), 60)
    told = str(refused.value)
    for part in (f"process {addresses.pid}", addresses.api, addresses.router, f"celadon down --data-dir {data_dir}"):
        assert part in told
