"""The lock order (deployments, route_sets, routes) and the fence of a rollout's steps.

What may happen only under a deployment's lock takes a :class:`DeploymentLock`, which this module alone makes, so that
the type checker finds a caller that has not locked.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.names import Fence, RolloutId, RouteSetId
from celadon.domain.language.not_found import no_such_deployment
from celadon.table.core.fences import HELD, hold_fence
from celadon.table.core.models import Deployment, Rollout, RouteSet

_LOCKED: Final = (
    select(Deployment)
    .where(Deployment.name == bindparam("deployment"))
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)
_LOCKED_UNREAD: Final = (
    select(Deployment.name).where(Deployment.name == bindparam("deployment")).with_for_update(key_share=True)
)
_LOCKED_OF_SET: Final = (
    select(Deployment.name)
    .where(Deployment.name == select(RouteSet.deployment).where(RouteSet.id == bindparam("set")).scalar_subquery())
    .with_for_update(key_share=True)
)
_held = HELD.cte("held")
_LOCKED_SET: Final = (
    select(RouteSet)
    .join(Deployment, Deployment.name == RouteSet.deployment)
    .join(_held, true())
    .where(RouteSet.id == bindparam("set"))
    # Rows are locked in this order, after the one that the held fence has locked.
    .with_for_update(key_share=True, of=(Deployment, RouteSet))
    .execution_options(populate_existing=True)
)
_OWNED: Final = (
    select(Rollout)
    .where(Rollout.id == bindparam("rollout"), Rollout.deployment == bindparam("deployment"))
    .execution_options(populate_existing=True)
)


@dataclass(frozen=True, slots=True)
class DeploymentLock:
    """A deployment's row is locked until the transaction ends."""

    name: str


@dataclass(frozen=True, slots=True)
class LockedDeployment(DeploymentLock):
    """A deployment's row, locked and read."""

    row: Deployment


async def lock_deployment_of(tx: AsyncSession, route_set: int) -> DeploymentLock | None:
    """Lock the row of the deployment that a set belongs to; ``None`` when there is no such set."""
    name = await tx.scalar(_LOCKED_OF_SET, {"set": route_set})
    return None if name is None else DeploymentLock(name)


async def lock_deployment(tx: AsyncSession, name: str) -> LockedDeployment:
    """Lock a deployment's row for the rest of the transaction; every change of its traffic begins here.

    Rows that merely refer to the deployment, such as acknowledgements, can still be written meanwhile.

    Raises:
        RefusedError: there is no such deployment.

    """
    row: Deployment | None = await tx.scalar(_LOCKED, {"deployment": name})
    if row is None:
        raise no_such_deployment(name)
    return LockedDeployment(name, row)


async def hold_deployment(tx: AsyncSession, name: str) -> DeploymentLock:
    """Lock a deployment's row as :func:`lock_deployment` does, without reading it.

    Raises:
        RefusedError: there is no such deployment.

    """
    if await tx.scalar(_LOCKED_UNREAD, {"deployment": name}) is None:
        raise no_such_deployment(name)
    return DeploymentLock(name)


async def lock_set(
    tx: AsyncSession, fence: Fence, deployment: str, route_set: RouteSetId
) -> tuple[DeploymentLock, RouteSet]:
    """Begin a keeper's write: hold its fence, then lock the deployment and the set, in the order that all do.

    Raises:
        LeaseLostError: another keeper has the lease.
        RefusedError: there is no such deployment.
        LookupError: there is no such set.

    """
    row: RouteSet | None = await tx.scalar(_LOCKED_SET, {"held": fence, "set": route_set})
    if row is None:
        await hold_fence(tx, fence)
        await hold_deployment(tx, deployment)
        raise LookupError(f"there is no set {route_set}")
    return DeploymentLock(row.deployment), row


async def own_rollout(tx: AsyncSession, lock: DeploymentLock, rollout: RolloutId) -> Rollout:
    """Return the rollout of a step when it still owns its deployment.

    Raises:
        RefusedError: the rollout has ended or was replaced; the step changes nothing.

    """
    return owning(await read_rollout(tx, lock, rollout), lock, rollout)


async def read_rollout(tx: AsyncSession, lock: DeploymentLock, rollout: RolloutId) -> Rollout | None:
    """Return a deployment's rollout as the table has it now, or ``None`` when it has none of this number."""
    row: Rollout | None = await tx.scalar(_OWNED, {"rollout": rollout, "deployment": lock.name})
    return row


def owning(row: Rollout | None, lock: DeploymentLock, rollout: RolloutId) -> Rollout:
    """Return what :func:`read_rollout` has read when the rollout still owns its deployment.

    Raises:
        RefusedError: the rollout has ended or was replaced; the step changes nothing.

    """
    if row is None or row.outcome is not None:
        raise refuse(
            RefusalCode.NOT_OWNER,
            f"rollout {rollout} no longer owns deployment {lock.name}",
            "nothing was changed; see 'celadon rollout history' for who does",
        )
    return row
