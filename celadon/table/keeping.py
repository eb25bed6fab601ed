"""What else the keeper looks after: owed signals, routers that caught up, drains, and rollouts left behind."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ARRAY, Text, all_, delete, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.contracts import ROUTERS_ACKNOWLEDGED
from celadon.domain.drain import RouterDrain
from celadon.domain.messages import RoutersAcknowledged
from celadon.domain.names import Epoch, Fence, RolloutId, RouteId, RouteSetId
from celadon.domain.strictness import Record
from celadon.table.acknowledgements import is_live, read_acknowledgement
from celadon.table.clock import database_now
from celadon.table.condition import owe_signal
from celadon.table.finish import abandon
from celadon.table.leases import hold_fence
from celadon.table.locks import lock_deployment
from celadon.table.models import MemberLoad, OutboxMessage, Rollout, Route, Router, RouterAck, RouterLoad, RouteSet
from celadon.table.routers import counts_for_drain


class OwedSignal(Record):
    """A signal that Temporal has not taken yet."""

    id: int
    workflow_id: str
    signal: str
    payload: dict[str, object]


class DrainReports(Record):
    """What all live routers say of some draining sets at one moment of the database's clock."""

    at: datetime
    routers: dict[RouteSetId, tuple[RouterDrain, ...]]


class DepartureReports(Record):
    """What all live routers say of leaving members at one moment of the database's clock."""

    at: datetime
    routers: dict[tuple[RouteId, Epoch], tuple[RouterDrain, ...]]
    """By member and by the epoch of its departure."""


class UnfinishedRollout(Record):
    """A rollout that the table holds for unfinished."""

    rollout: RolloutId
    deployment: str
    workflow_id: str


class WaitingRollout(Record):
    """A rollout that waits until every live router serves an epoch."""

    rollout: RolloutId
    deployment: str
    epoch: Epoch


async def read_owed_signals(tx: AsyncSession, limit: int, without: Collection[str] = ()) -> Sequence[OwedSignal]:
    """Return owed signals, oldest first, but for those of the workflows ``without``."""
    query = select(OutboxMessage).order_by(OutboxMessage.id).limit(limit)
    if without:
        # One parameter, however many there are.
        query = query.where(OutboxMessage.workflow_id != all_(literal(list(without), ARRAY(Text))))
    rows = await tx.scalars(query)
    return [OwedSignal(id=row.id, workflow_id=row.workflow_id, signal=row.signal, payload=row.payload) for row in rows]


async def count_owed_signals(tx: AsyncSession) -> int:
    """Return how many signals Temporal has not taken yet."""
    return (await tx.execute(select(func.count()).select_from(OutboxMessage))).scalar_one()


async def signal_taken(tx: AsyncSession, fence: Fence, owed: OwedSignal) -> None:
    """Forget a signal that Temporal has taken, or that nobody can take any more."""
    await hold_fence(tx, fence)
    await tx.execute(delete(OutboxMessage).where(OutboxMessage.id == owed.id))


async def read_drain_reports(tx: AsyncSession, route_sets: Collection[RouteSetId]) -> DrainReports:
    """Return what every live router says of draining sets; a report from before the drain says nothing."""
    rows = await tx.execute(
        select(
            RouteSet.id,
            Router.node,
            RouterAck.epoch,
            RouteSet.drain_epoch,
            RouterLoad.running,
            RouterLoad.zero_reports,
        )
        .select_from(RouteSet)
        .join(Router, is_live)
        .outerjoin(RouterAck, (RouterAck.router == Router.node) & (RouterAck.deployment == RouteSet.deployment))
        .outerjoin(
            RouterLoad,
            (RouterLoad.router == Router.node) & (RouterLoad.route_set == RouteSet.id) & counts_for_drain,
        )
        .where(RouteSet.id.in_(route_sets))
        .order_by(RouteSet.id, Router.node),
    )
    routers: defaultdict[RouteSetId, list[RouterDrain]] = defaultdict(list)
    for row in rows:
        routers[RouteSetId(row.id)].append(
            RouterDrain(
                router=row.node,
                acknowledged=row.epoch is not None and row.drain_epoch is not None and row.epoch >= row.drain_epoch,
                running=row.running,
                zero_reports=row.zero_reports or 0,
            ),
        )
    return DrainReports(
        at=await database_now(tx),
        routers={route_set: tuple(routers[route_set]) for route_set in route_sets},
    )


async def read_departure_reports(tx: AsyncSession, route_sets: Collection[RouteSetId]) -> DepartureReports:
    """Return what every live router says of the members that leave these sets, each for its present departure."""
    rows = await tx.execute(
        select(
            Route.id,
            Route.leaving_epoch,
            Router.node,
            RouterAck.epoch,
            MemberLoad.running,
            MemberLoad.zero_reports,
        )
        .select_from(Route)
        .join(RouteSet, RouteSet.id == Route.set_id)
        .outerjoin(Router, is_live)
        .outerjoin(RouterAck, (RouterAck.router == Router.node) & (RouterAck.deployment == RouteSet.deployment))
        .outerjoin(
            MemberLoad,
            (MemberLoad.router == Router.node)
            & (MemberLoad.route == Route.id)
            & (MemberLoad.epoch == Route.leaving_epoch),
        )
        .where(RouteSet.id.in_(route_sets), Route.ended_at.is_(None), Route.leaving_epoch.is_not(None))
        .order_by(Route.id, Router.node),
    )
    routers: defaultdict[tuple[RouteId, Epoch], list[RouterDrain]] = defaultdict(list)
    for row in rows:
        of_member = routers[RouteId(row.id), Epoch(row.leaving_epoch)]
        if row.node is not None:
            of_member.append(
                RouterDrain(
                    router=row.node,
                    acknowledged=row.epoch is not None and row.epoch >= row.leaving_epoch,
                    running=row.running,
                    zero_reports=row.zero_reports or 0,
                ),
            )
    return DepartureReports(at=await database_now(tx), routers={key: tuple(found) for key, found in routers.items()})


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
    told = RoutersAcknowledged(epoch=waiting.epoch, rollout=waiting.rollout)
    await owe_signal(tx, rollout.workflow_id, ROUTERS_ACKNOWLEDGED, told)
    return True


async def read_unfinished_rollouts(tx: AsyncSession) -> list[UnfinishedRollout]:
    """Return the rollouts that the table holds for unfinished."""
    rows = await tx.execute(
        select(Rollout.id, Rollout.deployment, Rollout.workflow_id)
        .where(Rollout.outcome.is_(None))
        .order_by(Rollout.id),
    )
    return [
        UnfinishedRollout(rollout=RolloutId(row.id), deployment=row.deployment, workflow_id=row.workflow_id)
        for row in rows
    ]


async def abandon_rollout(tx: AsyncSession, fence: Fence, left: UnfinishedRollout, why: str) -> bool:
    """End a rollout whose workflow is gone; false when it has ended meanwhile."""
    await hold_fence(tx, fence)
    deployment = await lock_deployment(tx, left.deployment)
    rollout = await tx.get_one(Rollout, left.rollout, populate_existing=True)
    if rollout.outcome is not None:
        return False
    await abandon(tx, deployment, rollout, why, await database_now(tx))
    return True
