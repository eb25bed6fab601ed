"""Waiting until a rollout that was started has its row."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from celadon.client.rollouts import RolloutClient, RolloutEnded
from celadon.table.records.rollouts import RolloutRecord

REGISTERED_WITHIN: Final = timedelta(seconds=10)
"""How long a start waits until a worker has taken the rollout up; the rollout itself waits for ever."""

_POLL_SECONDS: Final = 0.1


async def until_registered(
    rollouts: RolloutClient,
    deployment: str,
    run_id: str,
    look: Callable[[], Awaitable[RolloutRecord | None]],
) -> RolloutRecord | RolloutEnded | None:
    """Return a rollout's row once its workflow has written it, or how the workflow ended before.

    Args:
        rollouts: what speaks to rollouts.
        deployment: the deployment's name.
        run_id: the run of the workflow that was started.
        look: reads the row of that run; nothing while there is none.

    Returns:
        The row, or the end; nothing when no worker takes the rollout up in time.

    """
    ending = asyncio.create_task(rollouts.wait(deployment, run_id=run_id))
    try:
        async with asyncio.timeout(REGISTERED_WITHIN.total_seconds()):
            while True:
                record = await look()
                if record is not None:
                    return record
                if ending.done():
                    return ending.result()
                await asyncio.wait({ending}, timeout=_POLL_SECONDS)
    except TimeoutError:
        return None
    finally:
        ending.cancel()
        await asyncio.wait({ending})
