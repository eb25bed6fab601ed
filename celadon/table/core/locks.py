"""The lock order (deployments, route_sets, routes) and the fence of a rollout's steps."""

from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.names import RolloutId
from celadon.table.core.models import Deployment, Rollout

_LOCKED: Final = (
    select(Deployment)
    .where(Deployment.name == bindparam("deployment"))
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)
_LOCKED_UNREAD: Final = (
    select(Deployment.name).where(Deployment.name == bindparam("deployment")).with_for_update(key_share=True)
)
_OWNED: Final = (
    select(Rollout)
    .where(Rollout.id == bindparam("rollout"), Rollout.deployment == bindparam("deployment"))
    .execution_options(populate_existing=True)
)


async def lock_deployment(tx: AsyncSession, name: str) -> Deployment:
    """Lock a deployment's row for the rest of the transaction; every change of its traffic begins here.

    Rows that merely refer to the deployment, such as acknowledgements, can still be written meanwhile.

    Raises:
        RefusedError: there is no such deployment.

    """
    row: Deployment | None = await tx.scalar(_LOCKED, {"deployment": name})
    if row is None:
        raise _no_such_deployment(name)
    return row


async def hold_deployment(tx: AsyncSession, name: str) -> None:
    """Lock a deployment's row as :func:`lock_deployment` does, without reading it.

    Raises:
        RefusedError: there is no such deployment.

    """
    if await tx.scalar(_LOCKED_UNREAD, {"deployment": name}) is None:
        raise _no_such_deployment(name)


def _no_such_deployment(name: str) -> RefusedError:
    return refuse(
        RefusalCode.NO_SUCH_DEPLOYMENT,
        f"there is no deployment {name}",
        "list them with 'celadon deployment list', or create it with 'celadon deploy -f FILE'",
    )


async def own_rollout(tx: AsyncSession, deployment: str, rollout: RolloutId) -> Rollout:
    """Return the rollout of a step when it still owns its deployment; call it under the deployment's lock.

    Raises:
        RefusedError: the rollout has ended or was replaced; the step changes nothing.

    """
    return owning(await read_rollout(tx, deployment, rollout), deployment, rollout)


async def read_rollout(tx: AsyncSession, deployment: str, rollout: RolloutId) -> Rollout | None:
    """Return a deployment's rollout as the table has it now, or ``None`` when it has none of this number."""
    row: Rollout | None = await tx.scalar(_OWNED, {"rollout": rollout, "deployment": deployment})
    return row


def owning(row: Rollout | None, deployment: str, rollout: RolloutId) -> Rollout:
    """Return what was read of a rollout under the deployment's lock when it still owns its deployment.

    Raises:
        RefusedError: the rollout has ended or was replaced; the step changes nothing.

    """
    if row is None or row.outcome is not None:
        raise refuse(
            RefusalCode.NOT_OWNER,
            f"rollout {rollout} no longer owns deployment {deployment}",
            "nothing was changed; see 'celadon rollout history' for who does",
        )
    return row
