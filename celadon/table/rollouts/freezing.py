"""Freezing a deployment: while it is frozen nothing is switched; whoever ends that tells the rollout that waits."""

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.table.core.epoch import wake_up
from celadon.table.core.locks import lock_deployment
from celadon.table.rollouts.asked_signals import tell_gate_changed


async def freeze(tx: AsyncSession, deployment: str) -> None:
    """Let no rollout of a deployment switch; the way back stays open.

    Raises:
        RefusedError: there is no such deployment.

    """
    (await lock_deployment(tx, deployment)).row.frozen = True
    await tx.flush()


async def thaw(tx: AsyncSession, deployment: str) -> None:
    """End the freeze of a deployment; a rollout whose switch was refused because of it asks again. Idempotent.

    Raises:
        RefusedError: there is no such deployment.

    """
    locked = await lock_deployment(tx, deployment)
    locked.row.frozen = False
    if await tell_gate_changed(tx, locked, "the freeze has ended"):
        await tx.execute(wake_up(deployment, locked.row.epoch, owes=True))
