"""The fence of the keeper's lease: held by every write of a keeper, and asked by whoever relies on a living keeper."""

from typing import Final

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.contracts import KEEPER_LEASE
from celadon.domain.language.names import Fence
from celadon.table.core.models import KeeperLease

SHARD: Final = 0
"""There is one shard now; the table is made for more."""

HELD: Final = (
    select(KeeperLease.fence)
    .where(KeeperLease.shard == SHARD, KeeperLease.fence == bindparam("held"))
    .with_for_update(read=True, key_share=True)
)
"""Finds the fence ``held`` only while it is the newest, and keeps it so until the transaction ends."""

LIVING: Final = select(KeeperLease.fence).where(
    KeeperLease.shard == SHARD,
    KeeperLease.seen_at > func.clock_timestamp() - KEEPER_LEASE,
)
"""The fence of the keeper that has renewed its lease within the last 3 seconds."""


class LeaseLostError(Exception):
    """Another keeper has taken the lease; whoever holds the older fence must stop to act."""


async def hold_fence(tx: AsyncSession, fence: Fence) -> None:
    """Begin a write of a keeper: no other keeper can take the lease before this transaction ends.

    The weakest of the row locks keeps only ``take_lease`` away. A stronger one would also make the keeper's own renewal
    wait, for as long as any of its writes waits for a deployment, and could so cost it the lease.

    Raises:
        LeaseLostError: another keeper has it.

    """
    held = await tx.scalar(HELD, {"held": fence})
    if held is None:
        raise LeaseLostError(f"fence {fence} is no longer the keeper's")


async def living_fence(tx: AsyncSession) -> Fence | None:
    """Return the fence of the keeper that has renewed its lease within the last 3 seconds; nothing when none has."""
    fence = await tx.scalar(LIVING)
    return None if fence is None else Fence(fence)


async def newest_fence(tx: AsyncSession) -> Fence | None:
    """Return the fence of the keeper that has taken the lease last, alive or not; nothing when there never was one."""
    fence = await tx.scalar(select(KeeperLease.fence).where(KeeperLease.shard == SHARD))
    return None if fence is None else Fence(fence)


async def keeper_is_alive(tx: AsyncSession) -> bool:
    """Return whether a keeper has renewed its lease within the last 3 seconds."""
    return await living_fence(tx) is not None
