"""Children that outlived their stack.

On Linux the kernel ends them when the stack is killed. Elsewhere, and for the moment that this takes, the stack writes
down which processes it runs, and its next start ends what is still there before it starts anything.
"""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil
import structlog
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from celadon.stack.files import write_file
from celadon.stack.process import KILL_WITHIN, start_time

CLOCK_TOLERANCE_SECONDS: Final = 2.0
"""How far the start time of one process may differ from itself when the machine's clock is set."""

log = structlog.get_logger()


class RunningChild(BaseModel):
    """One process of a stack."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    started_at: float
    kill_signal: signal.Signals


_children: TypeAdapter[tuple[RunningChild, ...]] = TypeAdapter(tuple[RunningChild, ...])


def record_children(file: Path, children: Sequence[RunningChild]) -> None:
    """Write down the processes that run now."""
    write_file(file, _children.dump_json(tuple(children), indent=2).decode() + "\n", mode=0o600)


def left_children(file: Path) -> tuple[RunningChild, ...]:
    """Return the processes that are written down in ``file`` and still run."""
    return tuple(child for child in _recorded(file) if _still_runs(child))


async def end_left_behind(file: Path, *only: int) -> None:
    """End every process that is written down in ``file`` and still runs, or of those only the ones named by id."""
    children = [child for child in _recorded(file) if not only or child.pid in only]
    await asyncio.gather(*(asyncio.to_thread(_end, child) for child in children))


def _recorded(file: Path) -> tuple[RunningChild, ...]:
    try:
        return _children.validate_json(file.read_bytes())
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        log.warning("stack.children_file_unreadable", file=str(file), reason=str(error))
        return ()


def _still_runs(child: RunningChild) -> bool:
    """Whether it is the process that was written down, and not a later one with the same id, and has not ended."""
    started_at = start_time(child.pid)
    if started_at is None or abs(started_at - child.started_at) > CLOCK_TOLERANCE_SECONDS:
        return False
    try:
        return psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end(child: RunningChild) -> None:
    if not _still_runs(child):
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
