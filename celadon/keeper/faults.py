"""Unexpected errors in a part of the keeper: logged, counted, and kept away from all other parts."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from celadon.keeper.metrics import KeeperMetrics
from celadon.keeper.times import USUAL_TIMES, KeeperTimes
from celadon.table.core.fences import LeaseLostError

log = structlog.get_logger()


async def attempt(part: str, run: Callable[[], Awaitable[object]], metrics: KeeperMetrics, **names: object) -> bool:
    """Run a part once; return false after an unexpected error, which was logged with ``names`` and counted.

    Raises:
        LeaseLostError: the keeper must not act any more. (In a group.)

    """
    try:
        await run()
    except* LeaseLostError:
        raise
    except* Exception:
        log.exception("keeper_fault", part=part, **names)
        metrics.faults.labels(part).inc()
    else:
        return True
    return False


async def survive(
    part: str,
    run: Callable[[], Awaitable[object]],
    metrics: KeeperMetrics,
    times: KeeperTimes = USUAL_TIMES,
    **names: object,
) -> None:
    """Run a part until it ends; begin it again after an unexpected error. What it knew may be out of date by then.

    Raises:
        LeaseLostError: the keeper must not act any more. (In a group.)

    """
    while True:
        if await attempt(part, run, metrics, **names):
            return
        await asyncio.sleep(times.fault.total_seconds())
