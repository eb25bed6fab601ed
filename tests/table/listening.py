"""What a test hears of the notifications of the database."""

import asyncio

from celadon.table.engine import Table
from celadon.table.notify import Subscription, notification

_MARK = "the last of before"


async def notify(table: Table, channel: str, payload: str) -> None:
    """Commit one notification."""
    async with table.transaction() as tx:
        await tx.execute(notification(channel, payload))


async def heard(subscription: Subscription, count: int) -> list[str]:
    """Wait until at least ``count`` payloads were heard, at most ten seconds; return all that were."""
    payloads: list[str] = []
    async with asyncio.timeout(10):
        while len(payloads) < count:
            payloads += await subscription.get(10)
    return payloads


async def hear_out(table: Table, channel: str, subscription: Subscription) -> None:
    """Hear all that was told before: a commit returns before those who listen have heard of it."""
    await notify(table, channel, _MARK)
    while _MARK not in await heard(subscription, 1):
        pass
