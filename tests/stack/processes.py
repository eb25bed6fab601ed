"""What tests ask about processes."""

import asyncio
from collections.abc import Callable

import psutil

DEADLINE_SECONDS = 60.0
"""For what takes a second or two: a process has to start or to end, on a machine that may be busy."""


def is_running(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; raise ``TimeoutError`` when it does not in time."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - other processes set no event of ours
            await asyncio.sleep(0.02)
