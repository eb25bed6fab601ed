"""Rollouts that wait until every live router serves an epoch."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import ROUTERS_ACKNOWLEDGED
from celadon.domain.language.messages import RoutersAcknowledged
from celadon.domain.language.names import Epoch, Fence, RolloutId
from celadon.table.core.acknowledgements import read_acknowledgement
from celadon.table.core.fences import hold_fence
from celadon.table.core.locks import lock_deployment
from celadon.table.core.models import Rollout
from celadon.table.core.owed_signals import owe_signal


class WaitingRollout(Record):
    """A rollout that waits until every live router serves an epoch."""

    rollout: RolloutId
    deployment: str
    epoch: Epoch


async def read_waiting_rollouts(tx: AsyncSession) -> list[WaitingRollout]:
    """Return the rollouts that wait for routers."""
    rows = await tx.execute(
        select(Rollout.id, Rollout.deployment, Rollout.awaits_epoch)
        .where(Rollout.outcome.is_(None), Rollout.awaits_epoch.is_not(None))
        .order_by(Rollout.id),
    )
    return [
        WaitingRollout(rollout=RolloutId(row.id), deployment=row.deployment, epoch=Epoch(row.awaits_epoch))
        for row in rows
    ]


async def tell_when_caught_up(tx: AsyncSession, fence: Fence, waiting: WaitingRollout) -> bool:
    """Owe a waiting rollout a signal when every live router serves its epoch; false while one is silent."""
    await hold_fence(tx, fence)
    acknowledgement = await read_acknowledgement(tx, waiting.deployment, waiting.epoch)
    if not acknowledgement.complete:
        return False
    await lock_deployment(tx, waiting.deployment)
    rollout = await tx.get_one(Rollout, waiting.rollout, populate_existing=True)
    if rollout.awaits_epoch != waiting.epoch:
        return False
    rollout.awaits_epoch = None
    news = RoutersAcknowledged(epoch=waiting.epoch, rollout=waiting.rollout)
    await owe_signal(tx, rollout.workflow_id, ROUTERS_ACKNOWLEDGED, news)
    return True
