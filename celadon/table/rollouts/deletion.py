"""Deleting a deployment: its route goes first, running requests end in peace, then it is destroyed.

Its host names are free at once. Its revisions, rollouts and audit log stay. A rollout that begins and a delete meet
under the deployment's lock; the second of them is refused.
"""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import DeploymentLifecycle, RouteSetState
from celadon.table.core.author import Author
from celadon.table.core.epoch import raise_epoch, raise_epoch_now
from celadon.table.core.locks import LockedDeployment, lock_deployment
from celadon.table.core.models import Deployment, Rollout, RouteSet
from celadon.table.core.policies import read_policy
from celadon.table.core.replica_rules import is_open
from celadon.table.records.changes import Deleted
from celadon.table.rollouts.audit import write_event
from celadon.table.rollouts.hosts import give_up_hosts
from celadon.table.rollouts.next_rollouts import drop
from celadon.table.rollouts.route_sets import drain_set
from celadon.table.rollouts.schedules import forget_schedules


class DeleteOrder(Author):
    """Somebody wants a deployment gone."""

    deployment: str


async def delete(tx: AsyncSession, order: DeleteOrder) -> Deleted:
    """Take a deployment's route away and let its replicas drain. Twice does it once.

    Raises:
        RefusedError: there is no such deployment, or a rollout of it is unfinished.

    """
    locked = await lock_deployment(tx, order.deployment)
    deployment = locked.row
    if deployment.lifecycle.is_deleted:
        return _answer(deployment, changed=False)
    await _refuse_unfinished(tx, deployment)
    live = deployment.live_set
    deployment.lifecycle = DeploymentLifecycle.DESTROYING
    deployment.live_set = None
    await tx.flush()
    epoch, now = await raise_epoch_now(tx, deployment.name)
    await tx.refresh(deployment, ["epoch"])
    await _drain_open_sets(tx, deployment, epoch, now)
    schedules = await forget_schedules(tx, locked)
    await drop(tx, locked, order)
    hosts = await give_up_hosts(tx, locked)
    evidence = {"epoch": str(epoch), "live_set": "" if live is None else str(live)}
    evidence |= {"hosts": ", ".join(hosts)} if hosts else {}
    await write_event(
        tx,
        deployment.name,
        None,
        "deleted",
        author=order,
        evidence=evidence | ({"schedules": ", ".join(schedules)} if schedules else {}),
    )
    await destroy_if_empty(tx, locked)
    return _answer(deployment, changed=True, schedules=schedules)


async def destroy_if_empty(tx: AsyncSession, locked: LockedDeployment) -> bool:
    """Call a deployment destroyed when it is being deleted and has no set left."""
    deployment = locked.row
    if deployment.lifecycle is not DeploymentLifecycle.DESTROYING:
        return False
    await tx.flush()
    left = await tx.scalar(
        select(func.count())
        .select_from(RouteSet)
        .where(RouteSet.deployment == deployment.name, RouteSet.state != RouteSetState.GONE),
    )
    if left:
        return False
    deployment.lifecycle = DeploymentLifecycle.DESTROYED
    await tx.flush()
    await raise_epoch(tx, deployment.name)
    await tx.refresh(deployment, ["epoch"])
    await write_event(tx, deployment.name, None, "destroyed")
    return True


async def _refuse_unfinished(tx: AsyncSession, deployment: Deployment) -> None:
    rollout = await tx.scalar(
        select(Rollout.id).where(Rollout.deployment == deployment.name, Rollout.outcome.is_(None)),
    )
    if rollout is not None:
        raise refuse(
            RefusalCode.ROLLOUT_RUNNING,
            f"rollout {rollout} of {deployment.name} is under way",
            f"wait for it ('celadon rollout watch {deployment.name}'), or add --abort to end it first",
        )


async def _drain_open_sets(tx: AsyncSession, deployment: Deployment, epoch: Epoch, now: datetime) -> None:
    rows = await tx.execute(
        select(RouteSet, Rollout.policy)
        .join(Rollout, Rollout.id == RouteSet.rollout)
        .where(RouteSet.deployment == deployment.name, is_open)
        .order_by(RouteSet.id)
        .with_for_update(of=RouteSet)
        .execution_options(populate_existing=True),
    )
    for route_set, policy in rows.all():
        await drain_set(tx, route_set, epoch, now, read_policy(policy).drain_timeout)


def _answer(deployment: Deployment, *, changed: bool, schedules: tuple[str, ...] = ()) -> Deleted:
    return Deleted(
        deployment=deployment.name,
        lifecycle=deployment.lifecycle,
        epoch=Epoch(deployment.epoch),
        changed=changed,
        schedules=schedules,
    )
