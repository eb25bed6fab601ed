"""Stopping a stack from outside: the one that runs in a data directory, and what one that was killed left there."""

import asyncio
import os
import shlex
import signal
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import psutil
from pydantic import BaseModel, ConfigDict

from celadon.stack.errors import DirectoryInUseError, StackError
from celadon.stack.layout import DataDirectory
from celadon.stack.left_behind import end_left_behind, left_children
from celadon.stack.replicas import end_replica, running_replicas

LOOK_EVERY: Final = timedelta(seconds=0.1)
_NAMES_ITSELF_WITHIN: Final = timedelta(seconds=2)
"""A process has locked the directory a moment before it writes down which one it is."""


class StoppedStack(BaseModel):
    """What was stopped."""

    model_config = ConfigDict(frozen=True)

    data_dir: Path
    pid: int | None
    """The process that ran the stack; ``None`` when none did."""
    ended: tuple[str, ...]
    """What an earlier stack, or this one, had left behind, and was ended too."""


async def stop_stack(data_dir: Path) -> StoppedStack:
    """Stop the stack that runs in ``data_dir`` in good order, and return when it is gone; waits as long as it takes.

    One that is stopping already is only waited for. What a stack that was killed has left behind is ended.

    Raises:
        StackError: there is no stack, it is not ours, or its process is not found.

    """
    directory = _find_stack(data_dir)
    pid = await _end_process(directory) if directory.is_in_use() else None
    ended: tuple[str, ...] = ()
    with suppress(DirectoryInUseError):  # somebody starts it again already, which ends what was left as well
        ended = await _end_what_is_left(directory)
    return StoppedStack(data_dir=directory.path, pid=pid, ended=ended)


def _find_stack(data_dir: Path) -> DataDirectory:
    directory = DataDirectory.find(data_dir)
    if directory is None or not (directory.settings_file.exists() or directory.lock_file.exists()):
        raise StackError(
            f"there is no stack in {data_dir.expanduser().absolute()}: name the directory of the one you mean with "
            "--data-dir",
        )
    return directory


async def _end_process(directory: DataDirectory) -> int | None:
    """Ask the process that runs the stack to stop, and wait until it has ended; return its id."""
    process = await _process_of(directory)
    if process is None:
        return None
    _, is_stopping = directory.holder()
    if not is_stopping:
        try:
            process.send_signal(signal.SIGTERM)
        except psutil.NoSuchProcess:
            return process.pid
        except (psutil.AccessDenied, PermissionError) as error:
            raise StackError(
                f"the stack in {directory.path} runs as user id {process.uids().real}, and this is user id "
                f"{os.geteuid()}: stop it as that user ('kill {process.pid}')",
            ) from error
    while _runs(process):  # noqa: ASYNC110 - another process sets no event of ours
        await asyncio.sleep(LOOK_EVERY.total_seconds())
    return process.pid


async def _process_of(directory: DataDirectory) -> psutil.Process | None:
    """Return the process that holds the directory; ``None`` when it has let go of it meanwhile."""
    pid: int | None = None
    for _ in range(int(_NAMES_ITSELF_WITHIN / LOOK_EVERY)):
        if not directory.is_in_use():
            return None
        pid, _ = directory.holder()
        with suppress(psutil.NoSuchProcess):
            if pid is not None and _holds(process := psutil.Process(pid), directory.lock_file):
                return process
        await asyncio.sleep(LOOK_EVERY.total_seconds())
    named = f"process {pid}" if pid is not None else "no process"
    raise StackError(
        f"a stack runs in {directory.path}, but {named}, which its lock names, does not hold the lock: it runs in "
        "another container, or on another machine; stop it there, or see "
        f"'lsof {shlex.quote(str(directory.lock_file))}'",
    )


def _holds(process: psutil.Process, lock: Path) -> bool:
    """Whether a process has the lock open; of another user's processes that is not told, and their word counts."""
    try:
        return any(Path(file.path) == lock for file in process.open_files())
    except psutil.AccessDenied:
        return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def _end_what_is_left(directory: DataDirectory) -> tuple[str, ...]:
    """End the children and replicas that run on without their stack, and name them."""
    with directory.locked():
        children = left_children(directory.children_file)
        await end_left_behind(directory.children_file)
        replicas = sorted(running_replicas(directory.replicas)) if directory.replicas.is_dir() else []
        for route in replicas:
            await end_replica(directory.replicas, route)
    return (
        *(f"{child.name} (process {child.pid})" for child in children),
        *(f"replica {route}" for route in replicas),
    )
