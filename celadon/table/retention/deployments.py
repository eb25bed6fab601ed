"""Pruning one deployment: a small transaction at a time, under the deployment's lock.

So it never meets a rollout that begins, a switch, a way back or the keeper's own writes in the middle of what they do:
who comes second sees what the first has done, and foreign keys refuse whatever still names what goes. Rows that
gateways write are locked in the gateways' order: sets, replicas, then their loads.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Delete, Select, delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.errors import RefusedError
from celadon.domain.language.notification import DeliveryState
from celadon.domain.language.states import DeploymentLifecycle
from celadon.table.core.author import Asker
from celadon.table.core.clock import database_now
from celadon.table.core.defaults import read_defaults
from celadon.table.core.locks import LockedDeployment, lock_deployment
from celadon.table.core.models import (
    ApprovalRow,
    Delivery,
    Deployment,
    Failover,
    FreezeRow,
    MemberLoad,
    NextRolloutRow,
    Notification,
    PauseRow,
    Pruning,
    RefusedDecision,
    RevisionRow,
    Rollout,
    RolloutEvent,
    Route,
    RouterAck,
    RouterLoad,
    RouteSet,
    ScheduleRow,
    SpentRequest,
)
from celadon.table.core.policies import read_policy, resolve_for
from celadon.table.retention.doomed import (
    left_over_deployment,
    old_events,
    old_notifications,
    old_revisions,
    old_rollouts,
    old_routes,
    old_schedules,
    old_spent_requests,
)
from celadon.table.retention.limits import YOUNG, Doomed, retention_of
from celadon.table.rollouts.audit import write_event

PRUNED: Final = "pruned"
"""How the audit log calls it."""

_ROWS_AT_ONCE: Final = 200
"""So many rows a statement deletes: a switch of the same deployment waits for one such transaction at most."""

Tally = Counter[str]
"""Rows by table."""


async def read_deployment_names(tx: AsyncSession) -> list[str]:
    """Return every deployment, also those that were destroyed, by name."""
    return list(await tx.scalars(select(Deployment.name).order_by(Deployment.name)))


async def prune_some(tx: AsyncSession, deployment: str, age: timedelta | None = None) -> Tally:
    """Delete some of what a deployment has had for long enough; return what went: nothing once nothing is left.

    Args:
        tx: the transaction; it is to end soon, because others wait for the deployment.
        deployment: whose rows.
        age: in place of the ``event_retention`` of its policy.

    """
    try:
        lock = await lock_deployment(tx, deployment)
    except RefusedError:
        return Tally()  # It has gone itself.
    await allow_pruning(tx)
    doomed = await _doomed(tx, lock.row, age)
    for prune in (_routes, _notifications, _spent_requests, _rollout, _events, _revisions, _schedules, _deployment):
        went = await prune(tx, lock, doomed)
        if went.total():
            return went
    return Tally()


async def count_doomed(tx: AsyncSession, deployment: str, age: timedelta | None = None) -> Tally:
    """Count what :func:`prune_some` would delete, until nothing is left; changes and locks nothing."""
    row = await tx.scalar(select(Deployment).where(Deployment.name == deployment))
    if row is None:
        return Tally()
    doomed = await _doomed(tx, row, age)
    rollouts = old_rollouts(doomed).order_by(None).subquery()
    sets = select(RouteSet.id).where(RouteSet.rollout.in_(select(rollouts.c.id)))
    notifications = old_notifications(doomed).order_by(None).subquery()
    asked: Mapping[str, Select[Any]] = {
        Route.__tablename__: old_routes(doomed),
        Notification.__tablename__: old_notifications(doomed),
        Delivery.__tablename__: select(Delivery.id).where(Delivery.notification.in_(select(notifications.c.id))),
        SpentRequest.__tablename__: old_spent_requests(doomed),
        Rollout.__tablename__: old_rollouts(doomed),
        RouteSet.__tablename__: sets,
        RouterLoad.__tablename__: select(RouterLoad.router).where(RouterLoad.route_set.in_(sets)),
        Failover.__tablename__: select(Failover.router).where(Failover.route_set.in_(sets)),
        RefusedDecision.__tablename__: select(RefusedDecision.rollout).where(
            RefusedDecision.rollout.in_(select(rollouts.c.id))
        ),
        PauseRow.__tablename__: select(PauseRow.id).where(PauseRow.rollout.in_(select(rollouts.c.id))),
        ApprovalRow.__tablename__: select(ApprovalRow.rollout).where(ApprovalRow.rollout.in_(select(rollouts.c.id))),
        RevisionRow.__tablename__: old_revisions(doomed),
        ScheduleRow.__tablename__: old_schedules(doomed),
        Deployment.__tablename__: left_over_deployment(doomed),
    }
    tally = Tally({name: await count(tx, query) for name, query in asked.items()})
    of_rollouts = select(RolloutEvent.id).where(RolloutEvent.rollout.in_(select(rollouts.c.id)))
    tally[RolloutEvent.__tablename__] = await count(tx, old_events(doomed)) + await count(tx, of_rollouts)
    return tally


async def tell_pruned(tx: AsyncSession, deployment: str, went: Tally, author: Asker) -> None:
    """Write into the audit log what went of a deployment, when it was more than lines of the log and replicas.

    A deployment that was destroyed is told of nothing: a line would keep it for as long again.
    """
    rows = {name: count for name, count in went.items() if count}
    if not rows.keys() & {Rollout.__tablename__, RevisionRow.__tablename__}:
        return
    row = await tx.scalar(select(Deployment).where(Deployment.name == deployment).with_for_update(key_share=True))
    if row is None or row.lifecycle is DeploymentLifecycle.DESTROYED:
        return
    await write_event(
        tx, deployment, None, PRUNED, author=author, evidence={name: str(count) for name, count in sorted(rows.items())}
    )


async def allow_pruning(tx: AsyncSession) -> None:
    """Let this transaction delete what triggers keep from every other one; what must stay they keep from it, too."""
    await tx.execute(text("set local celadon.prune = 'on'"))


async def deleted(tx: AsyncSession, statement: Delete) -> int:
    """Delete rows, and return how many there were."""
    result = await tx.execute(statement.execution_options(synchronize_session=False))
    return result.rowcount if isinstance(result, CursorResult) else 0


async def _doomed(tx: AsyncSession, row: Deployment, age: timedelta | None) -> Doomed:
    now = await database_now(tx)
    retention = retention_of(resolve_for(row.name, await read_defaults(tx), read_policy(row.policy)), age)
    return Doomed(deployment=row.name, before=now - retention.age, young=now - YOUNG, retention=retention)


async def count(tx: AsyncSession, query: Select[Any]) -> int:
    """Return how many rows a query finds."""
    return await tx.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0


async def _routes(tx: AsyncSession, lock: LockedDeployment, doomed: Doomed) -> Tally:
    del lock
    some = old_routes(doomed).limit(_ROWS_AT_ONCE).with_for_update(of=Route, skip_locked=True)
    return await _delete_routes(tx, list(await tx.scalars(some)))


async def _delete_routes(tx: AsyncSession, locked: list[str]) -> Tally:
    if not locked:
        return Tally()
    loads = await deleted(tx, delete(MemberLoad).where(MemberLoad.route.in_(locked)))
    routes = await deleted(tx, delete(Route).where(Route.id.in_(locked)))
    return Tally({MemberLoad.__tablename__: loads, Route.__tablename__: routes})


async def _notifications(tx: AsyncSession, lock: LockedDeployment, doomed: Doomed) -> Tally:
    del lock
    return await delete_notifications(tx, list(await tx.scalars(old_notifications(doomed).limit(_ROWS_AT_ONCE))))


async def delete_notifications(tx: AsyncSession, notifications: list[str]) -> Tally:
    """Delete notifications with their deliveries, but for those that somebody tries again at this moment."""
    if not notifications:
        return Tally()
    deliveries = (
        await tx.execute(
            select(Delivery.notification, Delivery.state)
            .where(Delivery.notification.in_(notifications))
            .order_by(Delivery.id)
            .with_for_update(),
        )
    ).all()
    waits = {row.notification for row in deliveries if row.state is DeliveryState.WAITING}
    some = [one for one in notifications if one not in waits]
    delivery_count = await deleted(tx, delete(Delivery).where(Delivery.notification.in_(some)))
    facts = await deleted(tx, delete(Notification).where(Notification.id.in_(some)))
    return Tally({Delivery.__tablename__: delivery_count, Notification.__tablename__: facts})


async def _spent_requests(tx: AsyncSession, lock: LockedDeployment, doomed: Doomed) -> Tally:
    del lock
    key = tuple_(SpentRequest.deployment, SpentRequest.verb, SpentRequest.request_id)
    gone = await deleted(tx, delete(SpentRequest).where(key.in_(old_spent_requests(doomed).limit(_ROWS_AT_ONCE))))
    return Tally({SpentRequest.__tablename__: gone})


async def _rollout(tx: AsyncSession, lock: LockedDeployment, doomed: Doomed) -> Tally:
    """Delete one rollout with all that belongs to it: its audit log goes as a whole."""
    rollout: int | None = await tx.scalar(old_rollouts(doomed).limit(1))
    if rollout is None:
        return Tally()
    sets = list(
        await tx.scalars(
            select(RouteSet.id).where(RouteSet.rollout == rollout).order_by(RouteSet.id).with_for_update(),
        )
    )
    routes = list(
        await tx.scalars(select(Route.id).where(Route.set_id.in_(sets)).order_by(Route.id).with_for_update()),
    )
    notifications = list(await tx.scalars(select(Notification.id).where(Notification.rollout == rollout)))
    went = await delete_notifications(tx, notifications)
    if went[Notification.__tablename__] < len(notifications):
        return went
    went += await _delete_routes(tx, routes)
    lines = await count(tx, select(RolloutEvent.id).where(RolloutEvent.rollout == rollout))
    for table, belongs in (
        (RouterLoad, RouterLoad.route_set.in_(sets)),
        (Failover, Failover.route_set.in_(sets)),
        (SpentRequest, SpentRequest.rollout == rollout),
        (PauseRow, PauseRow.rollout == rollout),
        (ApprovalRow, ApprovalRow.rollout == rollout),
        (RefusedDecision, RefusedDecision.rollout == rollout),
    ):
        went[table.__tablename__] += await deleted(tx, delete(table).where(belongs))
    # The rollout after it, which is kept, had its green as blue.
    await tx.execute(update(Rollout).where(Rollout.blue_set.in_(sets)).values(blue_set=None))
    await tx.execute(update(Rollout).where(Rollout.id == rollout).values(green_set=None))
    went[RouteSet.__tablename__] += await deleted(tx, delete(RouteSet).where(RouteSet.id.in_(sets)))
    went[Rollout.__tablename__] += await deleted(tx, delete(Rollout).where(Rollout.id == rollout))
    went[RolloutEvent.__tablename__] += lines
    lock.row.pruned_to = max(rollout, lock.row.pruned_to or 0)
    lock.row.pruned_at = await database_now(tx)
    await tx.flush()
    return went


async def _events(tx: AsyncSession, lock: LockedDeployment, doomed: Doomed) -> Tally:
    del lock
    some = old_events(doomed).limit(_ROWS_AT_ONCE)
    return Tally({RolloutEvent.__tablename__: await deleted(tx, delete(RolloutEvent).where(RolloutEvent.id.in_(some)))})


async def _revisions(tx: AsyncSession, lock: LockedDeployment, doomed: Doomed) -> Tally:
    numbers = list(await tx.scalars(old_revisions(doomed).limit(_ROWS_AT_ONCE)))
    statement = delete(RevisionRow).where(RevisionRow.deployment == lock.name, RevisionRow.number.in_(numbers))
    return Tally({RevisionRow.__tablename__: await deleted(tx, statement) if numbers else 0})


async def _schedules(tx: AsyncSession, lock: LockedDeployment, doomed: Doomed) -> Tally:
    names = list(await tx.scalars(old_schedules(doomed).limit(_ROWS_AT_ONCE)))
    statement = delete(ScheduleRow).where(ScheduleRow.deployment == lock.name, ScheduleRow.name.in_(names))
    return Tally({ScheduleRow.__tablename__: await deleted(tx, statement) if names else 0})


async def _deployment(tx: AsyncSession, lock: LockedDeployment, doomed: Doomed) -> Tally:
    """Delete a destroyed deployment of which nothing is left; another one of its name goes on above its epochs."""
    if await tx.scalar(left_over_deployment(doomed).with_for_update()) is None:
        return Tally()
    floor = lock.row.epoch + 1
    await tx.execute(
        insert(Pruning)
        .values(id=0, epoch_floor=floor)
        .on_conflict_do_update(index_elements=["id"], set_={"epoch_floor": func.greatest(Pruning.epoch_floor, floor)}),
    )
    went = Tally()
    for table, is_its_own in (
        (RouterAck, RouterAck.deployment == lock.name),
        (FreezeRow, FreezeRow.deployment == lock.name),
        (ScheduleRow, ScheduleRow.deployment == lock.name),
        (NextRolloutRow, NextRolloutRow.deployment == lock.name),
        (RevisionRow, RevisionRow.deployment == lock.name),
        (Deployment, Deployment.name == lock.name),
    ):
        went[table.__tablename__] += await deleted(tx, delete(table).where(is_its_own))
    return went
