"""What a test hears of the notifications of the database."""

import asyncio
from typing import Final

from celadon.table.core.engine import Table
from celadon.table.core.listen import ChannelSubscription, Listener, notification

_MARK: Final = "the last of before"
_DEADLINE_SECONDS: Final = 30.0


async def until_connected(listener: Listener) -> None:
    """Wait until a listener hears what is told."""
    async with asyncio.timeout(_DEADLINE_SECONDS):
        await listener.connected.wait()


async def notify(table: Table, channel: str, payload: str) -> None:
    """Commit one notification."""
    async with table.transaction() as tx:
        await tx.execute(notification(channel, payload))


async def heard(subscription: ChannelSubscription, count: int) -> list[str]:
    """Wait until at least ``count`` payloads were heard, in good time; return all that were."""
    payloads: list[str] = []
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while len(payloads) < count:
            payloads += await subscription.get(_DEADLINE_SECONDS)
    return payloads


async def hear_out(table: Table, channel: str, subscription: ChannelSubscription) -> None:
    """Hear all that was told before: a commit returns before those who listen have heard of it."""
    await notify(table, channel, _MARK)
    while _MARK not in await heard(subscription, 1):
        pass
