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


async def end_left_behind(file: Path) -> None:
    """End every process that is written down in ``file`` and still runs."""
    await asyncio.gather(*(asyncio.to_thread(_end, child) for child in _recorded(file)))


def _recorded(file: Path) -> tuple[RunningChild, ...]:
    try:
        return _children.validate_json(file.read_bytes())
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        log.warning("stack.children_file_unreadable", file=str(file), reason=str(error))
        return ()


def _end(child: RunningChild) -> None:
    started_at = start_time(child.pid)
    if started_at is None or abs(started_at - child.started_at) > CLOCK_TOLERANCE_SECONDS:
        return
    try:
        process = psutil.Process(child.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return
        log.warning("child.left_behind", child=child.name, pid=child.pid)
        process.send_signal(child.kill_signal)
        try:
            process.wait(KILL_WITHIN.total_seconds())
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(KILL_WITHIN.total_seconds())
    except psutil.NoSuchProcess:
        return
