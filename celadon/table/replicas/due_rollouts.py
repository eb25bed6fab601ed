"""Rollouts that have waited and whose turn it is: the keeper starts them."""

from datetime import datetime
from typing import Final

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.table.core.models import NextRolloutRow, Rollout

_now: Final = func.clock_timestamp()
_due: Final = (
    select(NextRolloutRow.deployment, NextRolloutRow.id, NextRolloutRow.due_at, _now.label("now"))
    .where(
        NextRolloutRow.due_at.is_not(None),
        ~exists().where(Rollout.deployment == NextRolloutRow.deployment, Rollout.outcome.is_(None)),
    )
    .order_by(NextRolloutRow.due_at, NextRolloutRow.id)
)


class DueRollout(Record):
    """What has waited, and is to begin."""

    deployment: str
    number: int
    """The number under which it waits."""
    due_at: datetime
    now: datetime
    """By the database's clock."""


async def read_due_rollouts(tx: AsyncSession) -> list[DueRollout]:
    """Return what is to begin, the longest first."""
    rows = await tx.execute(_due)
    return [DueRollout(deployment=row.deployment, number=row.id, due_at=row.due_at, now=row.now) for row in rows]
