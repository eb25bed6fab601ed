"""What ``celadon doctor`` asks the table: is somebody at work, and is anything left lying."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.publication import publish
from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import KEEPER_LEASE
from celadon.domain.language.names import RevisionNumber, RolloutId, RouteId, RouterNode, RouteSetId
from celadon.domain.language.states import (
    RolloutOutcome,
    RolloutPhase,
    SetCondition,
)
from celadon.table.core.deployment_rules import is_destroyed
from celadon.table.core.fences import SHARD
from celadon.table.core.models import (
    Deployment,
    KeeperLease,
    OutboxMessage,
    Rollout,
    Route,
    Router,
    RouterAck,
    RouteSet,
)
from celadon.table.core.replica_rules import is_open
from celadon.table.core.router_rules import is_live
from celadon.table.records.routers import RouterState
from celadon.table.routers.router_state import state_of, stream_is_up
from celadon.table.routers.traffic import read_all_traffic


class KeeperFinding(Record):
    """Who holds the keeper's lease."""

    holder: str
    seen_at: datetime
    alive: bool
    risks: tuple[str, ...] = ()
    """What the settings of its worker let others do: values of ``WorkerRisk``, or of a newer version's."""


class RouterFinding(Record):
    """A router that was not forgotten."""

    router: RouterNode
    gateway: str
    seen_at: datetime | None
    """``None`` when it has never connected."""
    enrolled: bool
    """Whether gateways let it in."""
    certificate_expires_at: datetime | None
    state: RouterState
    stream_is_up: bool
    """Whether it is connected to a gateway."""
    takes_limits: bool
    """Whether it takes the limits of requests that deployments have; else it holds all to the default."""
    nack: str
    behind: tuple[str, ...]
    """Deployments of which it does not serve the present epoch, when it is waited for."""


class FailedSetFinding(Record):
    """An open set that the keeper has given up."""

    deployment: str
    route_set: RouteSetId
    revision: RevisionNumber
    is_live: bool
    last_error: str


class UnfinishedFinding(Record):
    """A rollout that the table holds for unfinished."""

    rollout: RolloutId
    deployment: str
    workflow_id: str
    run_id: str
    """The run that began it."""
    phase: RolloutPhase


class RecordedRun(Record):
    """A rollout as the run of the workflow that began it."""

    rollout: RolloutId
    workflow_id: str
    run_id: str
    outcome: RolloutOutcome | None
    ended_at: datetime | None


class OutboxFinding(Record):
    """Signals that rollouts are owed and Temporal has not taken."""

    owed: int
    oldest_at: datetime | None


class Inspection(Record):
    """The table's findings at one moment of the database's clock."""

    at: datetime
    keeper: KeeperFinding | None
    """Nothing when no keeper ever ran."""
    routers: tuple[RouterFinding, ...]
    failed_sets: tuple[FailedSetFinding, ...]
    unfinished: tuple[UnfinishedFinding, ...]
    outbox: OutboxFinding
    panics: tuple[str, ...]
    """Deployments of which too few live replicas are healthy, so that unhealthy ones get traffic too."""
    live_deployments: int
    """How many deployments have something live."""


async def inspect(tx: AsyncSession) -> Inspection:
    """Read everything that a check-up asks for."""
    now: datetime = (await tx.execute(select(func.clock_timestamp()))).scalar_one()
    return Inspection(
        at=now,
        keeper=await _find_keeper(tx, now),
        routers=await _find_routers(tx, now),
        failed_sets=await _find_failed_sets(tx),
        unfinished=await _find_unfinished(tx),
        outbox=await _find_owed(tx),
        panics=tuple(one.deployment for one in await read_all_traffic(tx) if publish(one).panic),
        live_deployments=await _count_live(tx),
    )


async def read_recorded_runs(tx: AsyncSession, workflow_ids: Collection[str]) -> list[RecordedRun]:
    """Return all rollouts that were begun by workflows of these ids, oldest first."""
    rows = await tx.scalars(select(Rollout).where(Rollout.workflow_id.in_(workflow_ids)).order_by(Rollout.id))
    return [
        RecordedRun(
            rollout=RolloutId(row.id),
            workflow_id=row.workflow_id,
            run_id=row.run_id,
            outcome=row.outcome,
            ended_at=row.completed_at,
        )
        for row in rows
    ]


async def read_route_states(tx: AsyncSession, routes: Collection[RouteId]) -> dict[RouteId, bool]:
    """Return of each of these routes that there is whether it has ended."""
    rows = await tx.execute(select(Route.id, Route.ended_at.is_not(None)).where(Route.id.in_(routes)))
    return {RouteId(route): has_ended for route, has_ended in rows}


async def _find_keeper(tx: AsyncSession, now: datetime) -> KeeperFinding | None:
    row = await tx.get(KeeperLease, SHARD)
    if row is None:
        return None
    return KeeperFinding(
        holder=row.holder, seen_at=row.seen_at, alive=row.seen_at > now - KEEPER_LEASE, risks=tuple(row.risks)
    )


async def _find_routers(tx: AsyncSession, now: datetime) -> tuple[RouterFinding, ...]:
    """Return routers that are not gone, with the deployments in which live ones are behind."""
    behind = await tx.execute(
        select(Router.node, Deployment.name)
        .select_from(Router)
        .join(Deployment, (Deployment.epoch > 0) & ~is_destroyed)
        .outerjoin(RouterAck, (RouterAck.router == Router.node) & (RouterAck.deployment == Deployment.name))
        .where(is_live, func.coalesce(RouterAck.epoch, -1) < Deployment.epoch)
        .order_by(Router.node, Deployment.name),
    )
    silent: dict[str, list[str]] = {}
    for node, name in behind:
        silent.setdefault(node, []).append(name)
    query = select(Router).where(Router.gone_at.is_(None)).order_by(Router.node)
    rows = await tx.scalars(query.execution_options(populate_existing=True))
    return tuple(
        RouterFinding(
            router=RouterNode(row.node),
            gateway=row.gateway,
            seen_at=row.seen_at,
            enrolled=row.enrolled_at is not None,
            certificate_expires_at=row.expires_at,
            state=state_of(row, now),
            stream_is_up=stream_is_up(row, now),
            takes_limits=row.takes_limits,
            nack=row.nack,
            behind=tuple(silent.get(row.node, ())),
        )
        for row in rows
    )


async def _find_failed_sets(tx: AsyncSession) -> tuple[FailedSetFinding, ...]:
    rows = await tx.execute(
        select(RouteSet, Deployment.live_set)
        .join(Deployment, Deployment.name == RouteSet.deployment)
        .where(is_open, RouteSet.condition == SetCondition.FAILED)
        .order_by(RouteSet.id),
    )
    return tuple(
        FailedSetFinding(
            deployment=row.RouteSet.deployment,
            route_set=RouteSetId(row.RouteSet.id),
            revision=RevisionNumber(row.RouteSet.revision),
            is_live=row.RouteSet.id == row.live_set,
            last_error=row.RouteSet.last_error,
        )
        for row in rows
    )


async def _find_unfinished(tx: AsyncSession) -> tuple[UnfinishedFinding, ...]:
    rows = await tx.scalars(select(Rollout).where(Rollout.outcome.is_(None)).order_by(Rollout.id))
    return tuple(
        UnfinishedFinding(
            rollout=RolloutId(row.id),
            deployment=row.deployment,
            workflow_id=row.workflow_id,
            run_id=row.run_id,
            phase=row.phase,
        )
        for row in rows
    )


async def _find_owed(tx: AsyncSession) -> OutboxFinding:
    row = (await tx.execute(select(func.count(OutboxMessage.id), func.min(OutboxMessage.created_at)))).one()
    return OutboxFinding(owed=row[0], oldest_at=row[1])


async def _count_live(tx: AsyncSession) -> int:
    count = await tx.scalar(select(func.count()).select_from(Deployment).where(Deployment.live_set.is_not(None)))
    return count or 0
