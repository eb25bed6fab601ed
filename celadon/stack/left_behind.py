"""Children that outlived their stack.

On Linux the kernel ends them when the stack is killed. Elsewhere, and for the moment that this takes, the stack writes
down which processes it runs, and its next start ends what is still there before it starts anything.

A record is no licence to kill: a process is ended only when the record is ours alone, and the process has the id, the
start time and the user that were written down, and was started with the mark of this data directory.
"""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil
import structlog
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from celadon.owned_files import NotOursError, read_file, write_file
from celadon.stack.errors import StackError
from celadon.stack.process import KILL_WITHIN, start_time

_MARK: Final = "CELADON_STACK_DIR"
"""The variable in the environment of each child that names its stack's data directory."""

CLOCK_TOLERANCE_SECONDS: Final = 2.0
"""How far the start time of one process may differ from itself when the machine's clock is set."""

log = structlog.get_logger()


class RunningChild(BaseModel):
    """One process of a stack."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    user: int
    """Id of the user it was started as."""
    started_at: float
    kill_signal: signal.Signals


_children: TypeAdapter[tuple[RunningChild, ...]] = TypeAdapter(tuple[RunningChild, ...])


def child_mark(data_dir: Path) -> Mapping[str, str]:
    """Return what the environment of a child says, by which it is known to be of the stack in ``data_dir``."""
    return {_MARK: str(data_dir)}


def record_children(file: Path, children: Sequence[RunningChild]) -> None:
    """Write down the processes that run now."""
    write_file(file, _children.dump_json(tuple(children), indent=2).decode() + "\n", mode=0o600)


def left_children(file: Path) -> tuple[RunningChild, ...]:
    """Return the processes that are written down in ``file`` and still run.

    Raises:
        StackError: the record is not ours alone.

    """
    return tuple(child for child in _recorded(file) if _still_runs(child, file.parent))


async def end_left_behind(file: Path, *only: int) -> None:
    """End every process that is written down in ``file`` and still runs, or of those only the ones named by id.

    Raises:
        StackError: the record is not ours alone; nothing is ended.

    """
    children = [child for child in _recorded(file) if not only or child.pid in only]
    await asyncio.gather(*(asyncio.to_thread(_end, child, file.parent) for child in children))


def _recorded(file: Path) -> tuple[RunningChild, ...]:
    try:
        return _children.validate_json(read_file(file, private=True))
    except FileNotFoundError:
        return ()
    except NotOursError as error:
        raise StackError(f"the record of the stack's processes is not believed: {error}") from error
    except ValidationError as error:
        log.warning("stack.children_file_unreadable", file=str(file), reason=str(error))
        return ()


def _still_runs(child: RunningChild, data_dir: Path) -> bool:
    """Whether it is the process that was written down, and not another one, and has not ended."""
    started_at = start_time(child.pid)
    if started_at is None or abs(started_at - child.started_at) > CLOCK_TOLERANCE_SECONDS:
        return False
    try:
        process = psutil.Process(child.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.uids().real == child.user and process.environ().get(_MARK) == str(data_dir)
    except psutil.AccessDenied:
        log.warning("child.not_ours", child=child.name, pid=child.pid, next_step="it is left alone: see what it is")
        return False
    except psutil.NoSuchProcess:
        return False


def _end(child: RunningChild, data_dir: Path) -> None:
    if not _still_runs(child, data_dir):
        return
    try:
        process = psutil.Process(child.pid)
        log.warning("child.left_behind", child=child.name, pid=child.pid)
        process.send_signal(child.kill_signal)
        try:
            process.wait(KILL_WITHIN.total_seconds())
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(KILL_WITHIN.total_seconds())
    except psutil.NoSuchProcess:
        return
