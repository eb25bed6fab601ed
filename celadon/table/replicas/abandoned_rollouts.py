"""Rollouts whose workflow is gone: the keeper ends them in the table."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Fence, RolloutId
from celadon.table.core.clock import database_now
from celadon.table.core.fences import hold_fence
from celadon.table.core.locks import lock_deployment
from celadon.table.core.models import Rollout
from celadon.table.rollouts.finish import abandon


class UnfinishedRollout(Record):
    """A rollout that the table holds for unfinished."""

    rollout: RolloutId
    deployment: str
    workflow_id: str


async def read_unfinished_rollouts(tx: AsyncSession) -> list[UnfinishedRollout]:
    """Return the rollouts that the table holds for unfinished."""
    rows = await tx.execute(
        select(Rollout.id, Rollout.deployment, Rollout.workflow_id)
        .where(Rollout.outcome.is_(None))
        .order_by(Rollout.id),
    )
    return [
        UnfinishedRollout(rollout=RolloutId(row.id), deployment=row.deployment, workflow_id=row.workflow_id)
        for row in rows
    ]


async def abandon_rollout(tx: AsyncSession, fence: Fence, left: UnfinishedRollout, why: str) -> bool:
    """End a rollout whose workflow is gone; false when it has ended meanwhile."""
    await hold_fence(tx, fence)
    deployment = await lock_deployment(tx, left.deployment)
    rollout = await tx.get_one(Rollout, left.rollout, populate_existing=True)
    if rollout.outcome is not None:
        return False
    await abandon(tx, deployment, rollout, why, await database_now(tx))
    return True
