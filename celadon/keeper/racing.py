"""Activities of which the first decides."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def first_to_end(*activities: Coroutine[Any, Any, T]) -> T:
    """Run activities until one ends, then cancel the others and wait for them.

    Returns what the first in order returned of those that ended, or raises what it raised.
    """
    tasks = [asyncio.ensure_future(activity) for activity in activities]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = next(task for task in tasks if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return ended.result()


async def pause_for(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for an event, at most so long, and clear it."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
    event.clear()
