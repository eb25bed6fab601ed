"""Activities that end together."""

import asyncio
from collections.abc import Coroutine


async def first_to_end(*activities: Coroutine[object, object, None]) -> None:
    """Run activities until one ends, then cancel the others and wait for them; raises what the first raised."""
    tasks = [asyncio.ensure_future(activity) for activity in activities]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
