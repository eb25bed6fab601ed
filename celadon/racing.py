"""Activities of which the first decides, groups of which one may fail, and waiting for one of two things."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


async def first_to_end(*activities: Coroutine[Any, Any, T]) -> T:
    """Run activities until one ends, then cancel the others and wait for them; return what the first one returned.

    Raises:
        BaseException: what the only activity that failed has raised.
        BaseExceptionGroup: all that activities have raised, when several did, also while they were cancelled.

    """
    tasks = [asyncio.ensure_future(activity) for activity in activities]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = next(task for task in tasks if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup("activities that run together have failed", errors)
    return ended.result()


async def wait_at_most(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for an event, for ever when no time is given."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Run a group of tasks whose failure the present task may survive.

    A plain group of Python 3.11 that fails while it waits for its tasks leaves a request to cancel with the task that
    waited. Before Python 3.11.3 no timeout of that task then ends as a timeout: it cancels the task instead.

    Raises:
        BaseExceptionGroup: what tasks, or the block, have raised.

    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup:
        while task is not None and task.cancelling() > before:
            task.uncancel()
        raise
