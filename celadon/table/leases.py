"""The keeper's lease: who owns replicas now, with a fence that every write of a keeper carries."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.contracts import KEEPER_LEASE
from celadon.domain.names import Fence
from celadon.domain.states import WorkerRisk
from celadon.table.models import KeeperLease

SHARD: Final = 0
"""There is one shard now; the table is made for more."""

_LONG_AGO: Final = func.to_timestamp(0)


class LeaseLostError(Exception):
    """Another keeper has taken the lease; whoever holds the older fence must stop to act."""


async def lock_free_lease(tx: AsyncSession) -> bool:
    """Let nobody else take the lease before this transaction ends; false while another keeper holds it.

    Waits for transactions that an earlier keeper has begun, see :func:`hold_fence`.
    """
    await tx.execute(
        insert(KeeperLease).values(shard=SHARD, holder="", fence=0, seen_at=_LONG_AGO).on_conflict_do_nothing(),
    )
    free = await tx.scalar(
        select(KeeperLease.shard)
        .where(KeeperLease.shard == SHARD, KeeperLease.seen_at < func.clock_timestamp() - KEEPER_LEASE)
        .with_for_update(),
    )
    return free is not None


async def take_lease(tx: AsyncSession, holder: str, risks: Collection[WorkerRisk] = ()) -> Fence | None:
    """Take a free or expired lease with a fence of its own; nothing while another keeper holds it.

    Waits as :func:`lock_free_lease` does. ``risks`` are those of the holder's worker.
    """
    if not await lock_free_lease(tx):
        return None
    fence = await tx.scalar(
        update(KeeperLease)
        .where(KeeperLease.shard == SHARD)
        .values(
            holder=holder,
            fence=KeeperLease.fence + 1,
            seen_at=func.clock_timestamp(),
            risks=[risk.value for risk in risks],
        )
        .returning(KeeperLease.fence),
    )
    return None if fence is None else Fence(fence)


async def renew_lease(tx: AsyncSession, fence: Fence) -> None:
    """Keep the lease for another 3 seconds.

    Raises:
        LeaseLostError: another keeper has it.

    """
    renewed = await tx.scalar(
        update(KeeperLease)
        .where(KeeperLease.shard == SHARD, KeeperLease.fence == fence)
        .values(seen_at=func.clock_timestamp())
        .returning(KeeperLease.fence),
    )
    if renewed is None:
        raise LeaseLostError(f"fence {fence} is no longer the keeper's")


async def release_lease(tx: AsyncSession, fence: Fence) -> None:
    """Give the lease back at once, so that another keeper need not wait for it to expire."""
    await tx.execute(
        update(KeeperLease).where(KeeperLease.shard == SHARD, KeeperLease.fence == fence).values(seen_at=_LONG_AGO),
    )


async def hold_fence(tx: AsyncSession, fence: Fence) -> None:
    """Begin a write of a keeper: no other keeper can take the lease before this transaction ends.

    The weakest of the row locks keeps only :func:`take_lease` away. A stronger one would also make the keeper's own
    renewal wait, for as long as any of its writes waits for a deployment, and could so cost it the lease.

    Raises:
        LeaseLostError: another keeper has it.

    """
    held = await tx.scalar(
        select(KeeperLease.fence)
        .where(KeeperLease.shard == SHARD, KeeperLease.fence == fence)
        .with_for_update(read=True, key_share=True),
    )
    if held is None:
        raise LeaseLostError(f"fence {fence} is no longer the keeper's")


async def living_fence(tx: AsyncSession) -> Fence | None:
    """Return the fence of the keeper that has renewed its lease within the last 3 seconds; nothing when none has."""
    fence = await tx.scalar(
        select(KeeperLease.fence).where(
            KeeperLease.shard == SHARD,
            KeeperLease.seen_at > func.clock_timestamp() - KEEPER_LEASE,
        ),
    )
    return None if fence is None else Fence(fence)


async def newest_fence(tx: AsyncSession) -> Fence | None:
    """Return the fence of the keeper that has taken the lease last, alive or not; nothing when there never was one."""
    fence = await tx.scalar(select(KeeperLease.fence).where(KeeperLease.shard == SHARD))
    return None if fence is None else Fence(fence)


async def keeper_is_alive(tx: AsyncSession) -> bool:
    """Return whether a keeper has renewed its lease within the last 3 seconds."""
    return await living_fence(tx) is not None
