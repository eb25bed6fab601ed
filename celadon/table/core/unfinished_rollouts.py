"""The rollouts under way, for whoever looks after their workflows."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import RolloutId
from celadon.table.core.models import Rollout


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
