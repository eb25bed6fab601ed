"""The traffic version of a deployment: every change of what routers are told raises it and notifies."""

import json
from datetime import datetime
from typing import Final

from sqlalchemy import Select, Text, bindparam, cast, false, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import Epoch
from celadon.table.core.listen import ROUTES_CHANNEL, notification
from celadon.table.core.models import Deployment

OWES: Final = "owes"
"""The key of a notification that says whether signals are owed."""

_raised = (
    update(Deployment)
    .where(Deployment.name == bindparam("of"))
    .values(epoch=Deployment.epoch + 1)
    .returning(Deployment.name, Deployment.epoch)
    .cte("raised")
)
_payload = func.json_build_object("deployment", _raised.c.name, "epoch", _raised.c.epoch, OWES, false())
_RAISED_AND_NOTIFIED: Final = select(
    _raised.c.epoch, func.clock_timestamp().label("at"), func.pg_notify(ROUTES_CHANNEL, cast(_payload, Text))
)
"""Both in one round trip: the epoch is raised several times in a rollout, always under a lock."""


async def raise_epoch(tx: AsyncSession, deployment: str) -> Epoch:
    """Raise the epoch by one, which locks the deployment's row, and notify gateways when the transaction commits."""
    epoch, _ = await raise_epoch_now(tx, deployment)
    return epoch


async def raise_epoch_now(tx: AsyncSession, deployment: str) -> tuple[Epoch, datetime]:
    """Do as :func:`raise_epoch`, and return the moment by the database's clock too."""
    raised = (await tx.execute(_RAISED_AND_NOTIFIED, {"of": deployment})).one_or_none()
    if raised is None:
        raise LookupError(f"there is no deployment {deployment}")
    return Epoch(raised.epoch), raised.at


def wake_up(deployment: str, epoch: int, *, owes: bool = False) -> Select[tuple[None]]:
    """Return the statement that lets gateways and the keeper reread a deployment when the transaction commits.

    With ``owes`` the keeper also looks for signals that a transaction of another one owes.
    """
    return notification(ROUTES_CHANNEL, json.dumps({"deployment": deployment, "epoch": epoch, OWES: owes}))
