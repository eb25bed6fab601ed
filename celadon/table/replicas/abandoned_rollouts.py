"""Rollouts whose workflow is gone: the keeper ends them in the table."""

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import Fence
from celadon.table.core.clock import database_now
from celadon.table.core.fences import hold_fence
from celadon.table.core.locks import lock_deployment
from celadon.table.core.models import Rollout
from celadon.table.core.unfinished_rollouts import UnfinishedRollout
from celadon.table.rollouts.finish import abandon


async def abandon_rollout(tx: AsyncSession, fence: Fence, left: UnfinishedRollout, why: str) -> bool:
    """End a rollout whose workflow is gone; false when it has ended meanwhile."""
    await hold_fence(tx, fence)
    deployment = await lock_deployment(tx, left.deployment)
    rollout = await tx.get_one(Rollout, left.rollout, populate_existing=True)
    if rollout.outcome is not None:
        return False
    await abandon(tx, deployment, rollout, why, await database_now(tx))
    return True
