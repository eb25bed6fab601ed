"""The traffic version of a deployment: every change of what routers are told raises it and notifies."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import CTE, Select, Text, bindparam, cast, false, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import Epoch
from celadon.table.core.listen import ROUTES_CHANNEL, notification
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import Deployment, RouteSet

OWES: Final = "owes"
"""The key of a notification that says whether signals are owed."""

_raised = (
    update(Deployment)
    .where(Deployment.name == bindparam("of"))
    .values(epoch=Deployment.epoch + 1)
    .returning(Deployment.name, Deployment.epoch)
    .cte("raised")
)
_pointed = (
    update(Deployment)
    .where(Deployment.name == bindparam("of"))
    .values(epoch=Deployment.epoch + 1, live_set=bindparam("at_set"), replicas=bindparam("wanted"))
    .returning(Deployment.name, Deployment.epoch)
    .cte("pointed")
)


def _notifying(raised: CTE) -> Select[Any]:
    """Raise and notify in one round trip: the epoch is raised several times in a rollout, always under a lock."""
    payload = func.json_build_object("deployment", raised.c.name, "epoch", raised.c.epoch, OWES, false())
    notified = func.pg_notify(ROUTES_CHANNEL, cast(payload, Text))
    return select(raised.c.epoch, func.clock_timestamp().label("at"), notified)


_RAISED_AND_NOTIFIED: Final = _notifying(_raised)
_POINTED_AND_NOTIFIED: Final = _notifying(_pointed)


async def raise_epoch(tx: AsyncSession, deployment: str) -> Epoch:
    """Raise the epoch by one, which locks the deployment's row, and notify gateways when the transaction commits."""
    epoch, _ = await raise_epoch_now(tx, deployment)
    return epoch


async def raise_epoch_now(tx: AsyncSession, deployment: str) -> tuple[Epoch, datetime]:
    """Do as :func:`raise_epoch`, and return the moment by the database's clock too."""
    return await _raise(tx, _RAISED_AND_NOTIFIED, {"of": deployment})


async def point_at(tx: AsyncSession, lock: DeploymentLock, route_set: RouteSet) -> tuple[Epoch, datetime]:
    """Make a set the live one, and raise the epoch and notify as :func:`raise_epoch_now` does.

    A row of the deployment that was read before does not know of it.
    """
    values = {"of": lock.name, "at_set": route_set.id, "wanted": route_set.wanted}
    return await _raise(tx, _POINTED_AND_NOTIFIED, values)


async def _raise(tx: AsyncSession, statement: Select[Any], values: Mapping[str, object]) -> tuple[Epoch, datetime]:
    raised = (await tx.execute(statement, values)).one_or_none()
    if raised is None:
        raise LookupError(f"there is no deployment {values['of']}")
    return Epoch(raised.epoch), raised.at


def wake_up(deployment: str, epoch: int, *, owes: bool = False) -> Select[tuple[None]]:
    """Return the statement that lets gateways and the keeper reread a deployment when the transaction commits.

    With ``owes`` the keeper also looks for signals that a transaction of another one owes.
    """
    return notification(ROUTES_CHANNEL, json.dumps({"deployment": deployment, "epoch": epoch, OWES: owes}))
