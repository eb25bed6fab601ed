"""Scaling: how many replicas a deployment wants, changed at any moment, inside a rollout or outside."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.messages import MAX_REPLICAS
from celadon.domain.language.names import Epoch
from celadon.table.core.author import Author
from celadon.table.core.epoch import raise_epoch, wake_up
from celadon.table.core.locks import DeploymentLock, lock_deployment
from celadon.table.core.models import Deployment, Rollout, RouteSet
from celadon.table.core.replica_rules import is_open
from celadon.table.records.changes import Scaled
from celadon.table.rollouts.admission import admit_scaling, sizes_of_sets
from celadon.table.rollouts.asked_signals import answer_asked
from celadon.table.rollouts.audit import write_event
from celadon.table.rollouts.condition import tell_rollout
from celadon.table.rollouts.revisions import check_replicas, read_revision
from celadon.table.rollouts.scale_down import cancel_scale_down


class ScaleOrder(Author):
    """Somebody wants another number of replicas."""

    deployment: str
    replicas: int


async def scale(tx: AsyncSession, order: ScaleOrder) -> Scaled:
    """Let a deployment want ``replicas``, with both colours of an unfinished rollout; the keeper does the rest.

    Blue follows while it bakes, so that the way back has the capacity. A set that drains is left alone; should blue be
    opened again, it wants what was asked for last.

    A green that is a preview stays one; it grows to what was asked for last once its switch is decided.

    Raises:
        RefusedError: the deployment is unknown or deleted, it cannot have so many replicas, or there is no room.

    """
    _check_number(order)
    locked = await lock_deployment(tx, order.deployment)
    deployment = locked.row
    _check_lifecycle(deployment)
    rollout = await tx.scalar(
        select(Rollout)
        .where(Rollout.deployment == deployment.name, Rollout.outcome.is_(None))
        .execution_options(populate_existing=True),
    )
    sets = await _lock_open_sets(tx, locked)
    await _check_revisions(tx, deployment, rollout, sets, order.replicas)
    before = deployment.replicas
    sizes = sizes_of_sets(rollout, sets, order.replicas)
    known = {before} | (set() if rollout is None else {rollout.scaled_to})
    if known == {order.replicas} and all(row.wanted == sizes[row.id] for row in sets):
        return _answer(deployment, before, changed=False)

    await admit_scaling(tx, locked, rollout, sets, order.replicas)
    deployment.replicas = order.replicas
    if rollout is not None:
        rollout.scaled_to = order.replicas
    grown = {row.id for row in sets if row.wanted < sizes[row.id]}
    for row in sets:
        row.wanted = sizes[row.id]
        row.growing = row.growing or row.id in grown
        await cancel_scale_down(tx, locked, row)
    await raise_epoch(tx, deployment.name)
    await tx.refresh(deployment, ["epoch"])
    for row in sets:
        await tell_rollout(tx, locked, row, scaled=row.id in grown)
    await answer_asked(tx, locked)
    await tx.execute(wake_up(deployment.name, deployment.epoch, owes=True))
    await write_event(
        tx,
        deployment.name,
        None if rollout is None else rollout.id,
        "scaled",
        author=order,
        evidence={"from": str(before), "to": str(order.replicas), "epoch": str(deployment.epoch)},
    )
    return _answer(deployment, before, changed=True)


def _check_number(order: ScaleOrder) -> None:
    if not 0 <= order.replicas <= MAX_REPLICAS:
        raise refuse(
            RefusalCode.TOO_MANY_REPLICAS,
            f"{order.replicas} replicas are wanted, but a deployment has 0 to {MAX_REPLICAS}",
            "divide it into several deployments",
        )


def _check_lifecycle(deployment: Deployment) -> None:
    if deployment.lifecycle.is_deleted:
        raise refuse(
            RefusalCode.DEPLOYMENT_DELETED,
            f"deployment {deployment.name} is {deployment.lifecycle.value}",
            "a new rollout ('celadon deploy -f FILE') starts it anew once it is destroyed",
        )


async def _lock_open_sets(tx: AsyncSession, deployment: DeploymentLock) -> list[RouteSet]:
    """Lock the live set and the open colours of an unfinished rollout; no other set of a deployment is ever open."""
    rows = await tx.scalars(
        select(RouteSet)
        .where(RouteSet.deployment == deployment.name, is_open)
        .order_by(RouteSet.id)
        .with_for_update()
        .execution_options(populate_existing=True),
    )
    return list(rows)


async def _check_revisions(
    tx: AsyncSession,
    deployment: Deployment,
    rollout: Rollout | None,
    sets: list[RouteSet],
    replicas: int,
) -> None:
    numbers = {row.revision for row in sets}
    if rollout is not None and rollout.switched_at is None:
        numbers.add(rollout.to_revision)
    for number in sorted(numbers):
        revision = await read_revision(tx, deployment.name, number)
        if revision is not None:
            check_replicas(revision, replicas)


def _answer(deployment: Deployment, before: int, *, changed: bool) -> Scaled:
    return Scaled(
        deployment=deployment.name,
        before=before,
        replicas=deployment.replicas,
        epoch=Epoch(deployment.epoch),
        changed=changed,
    )
