"""The keeper's lease: who owns replicas now, with a fence that every write of a keeper carries."""

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.contracts import KEEPER_LEASE
from celadon.domain.language.names import Fence
from celadon.domain.language.states import WorkerRisk
from celadon.table.core.fences import SHARD, LeaseLostError
from celadon.table.core.models import KeeperLease

_LONG_AGO: Final = func.to_timestamp(0)


async def lock_free_lease(tx: AsyncSession, expires: timedelta = KEEPER_LEASE) -> bool:
    """Let nobody else take the lease before this transaction ends; false while another keeper holds it.

    A lease is free that was not renewed for ``expires``. Waits for transactions that an earlier keeper has begun, see
    :func:`celadon.table.core.fences.hold_fence`.
    """
    await tx.execute(
        insert(KeeperLease).values(shard=SHARD, holder="", fence=0, seen_at=_LONG_AGO).on_conflict_do_nothing(),
    )
    free = await tx.scalar(
        select(KeeperLease.shard)
        .where(KeeperLease.shard == SHARD, KeeperLease.seen_at < func.clock_timestamp() - expires)
        .with_for_update(),
    )
    return free is not None


async def take_lease(
    tx: AsyncSession, holder: str, risks: Collection[WorkerRisk] = (), expires: timedelta = KEEPER_LEASE
) -> Fence | None:
    """Take a free or expired lease with a fence of its own; nothing while another keeper holds it.

    Waits as :func:`lock_free_lease` does. ``risks`` are those of the holder's worker.
    """
    if not await lock_free_lease(tx, expires):
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
