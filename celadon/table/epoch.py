"""The traffic version of a deployment: every change of what routers are told raises it and notifies."""

import json
from typing import Final

from sqlalchemy import Select, update
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.names import Epoch
from celadon.table.models import Deployment
from celadon.table.notify import ROUTES_CHANNEL, notification

OWES: Final = "owes"
"""The key of a notification that says whether signals are owed."""


async def raise_epoch(tx: AsyncSession, deployment: str) -> Epoch:
    """Raise the epoch by one, which locks the deployment's row, and notify gateways when the transaction commits."""
    epoch = await tx.scalar(
        update(Deployment)
        .where(Deployment.name == deployment)
        .values(epoch=Deployment.epoch + 1)
        .returning(Deployment.epoch)
        .execution_options(synchronize_session=False),
    )
    if epoch is None:
        raise LookupError(f"there is no deployment {deployment}")
    await tx.execute(wake_up(deployment, epoch))
    return Epoch(epoch)


def wake_up(deployment: str, epoch: int, *, owes: bool = False) -> Select[tuple[None]]:
    """Return the statement that lets gateways and the keeper reread a deployment when the transaction commits.

    With ``owes`` the keeper also looks for signals that a transaction of another one owes.
    """
    return notification(ROUTES_CHANNEL, json.dumps({"deployment": deployment, "epoch": epoch, OWES: owes}))
