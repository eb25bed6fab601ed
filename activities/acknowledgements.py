"""Waiting until every live router serves an epoch, woken by the gateways' notifications."""

import asyncio
import json
import time
from datetime import timedelta
from typing import Final

from activities.worker_stop import stop_with_worker
from celadon.domain.language.names import Epoch
from celadon.table.core.acknowledgements import Acknowledgement, read_acknowledgement
from celadon.table.core.engine import Table
from celadon.table.core.listen import ACKS_CHANNEL, ALL_DEPLOYMENTS, ChannelSubscription, Listener

_POLL_SECONDS: Final = 1.0


class AcknowledgementWatch:
    """Waits for routers inside an activity, for as long as its worker is not stopped."""

    def __init__(self, table: Table, listener: Listener) -> None:
        """Keep the worker's table and listener."""
        self._table = table
        self._listener = listener

    async def wait(self, deployment: str, epoch: Epoch, timeout: timedelta) -> Acknowledgement:
        """Wait until no live router is silent about ``epoch``, at most ``timeout``; return who is at the end."""
        deadline = time.monotonic() + timeout.total_seconds()
        async with self._listener.subscribe(ACKS_CHANNEL) as heard:
            while True:
                stop_with_worker()
                async with self._table.reading() as tx:
                    acknowledgement = await read_acknowledgement(tx, deployment, epoch)
                remaining = deadline - time.monotonic()
                if acknowledgement.complete or remaining <= 0:
                    return acknowledgement
                await hear_of(heard, deployment, min(remaining, _POLL_SECONDS))

    async def pause(self, seconds: float) -> None:
        """Wait a moment."""
        stop_with_worker()
        await asyncio.sleep(seconds)


async def hear_of(heard: ChannelSubscription, deployment: str, timeout_seconds: float) -> None:
    """Wait for news of one deployment, at most ``timeout_seconds``; other deployments' news do not end the wait."""
    deadline = time.monotonic() + timeout_seconds
    while (remaining := deadline - time.monotonic()) > 0:
        for payload in await heard.get(remaining):
            if not payload or json.loads(payload)["deployment"] in {deployment, ALL_DEPLOYMENTS}:
                return
