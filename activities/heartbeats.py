"""The heartbeats of all activities: a killed worker is found out by their absence, whatever its activity waited for."""

import asyncio
from datetime import timedelta
from typing import Any, Final

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

BEATS: Final = 3
"""Heartbeats within each heartbeat timeout: a worker that a busy machine holds up for a moment is not held for dead."""


class Heartbeats(Interceptor):
    """Lets every activity that has a heartbeat timeout heartbeat for as long as it runs, at its database too."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Put the heartbeats around the rest."""
        return _Beating(next)


class _Beating(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - as the SDK has it
        timeout = activity.info().heartbeat_timeout
        if timeout is None:
            return await super().execute_activity(input)
        beating = asyncio.create_task(_beat_until_cancelled(timeout / BEATS))
        try:
            return await super().execute_activity(input)
        finally:
            beating.cancel()


async def _beat_until_cancelled(interval: timedelta) -> None:
    # An activity that ends at once, as most do, sends none.
    while True:
        await asyncio.sleep(interval.total_seconds())
        activity.heartbeat()
