"""How a deployment stands, as people and programs look at it: both colours, replicas, routers, its latest rollout."""

from collections import defaultdict
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.names import Epoch, RevisionNumber, RolloutId, RouteId, RouterNode, RouteSetId
from celadon.domain.policy import required_healthy
from celadon.domain.publication import publish
from celadon.domain.states import (
    DeploymentLifecycle,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
    SetCondition,
)
from celadon.domain.strictness import Record
from celadon.table.acknowledgements import is_live
from celadon.table.clock import database_now
from celadon.table.history import AuditEvent, RolloutRecord, latest_rollout, read_events
from celadon.table.leases import keeper_is_alive
from celadon.table.models import Deployment, Rollout, Route, Router, RouterAck, RouterLoad, RouteSet
from celadon.table.traffic import read_traffic

SHOWN_EVENTS = 8
_SHOWN_FAILURES = 3


class Colour(StrEnum):
    """A set's part in the latest rollout."""

    BLUE = "blue"
    GREEN = "green"


class ReplicaView(Record):
    """One replica that has not ended."""

    route: RouteId
    host: str
    port: int
    status: RouteStatus
    health: RouteHealthStatus
    created_at: datetime
    started_at: datetime | None
    last_error: str


class FailureView(Record):
    """A replica that ended by itself, with what it said last."""

    route: RouteId
    port: int
    status: RouteStatus
    ended_at: datetime
    last_error: str
    output: str


class LoadView(Record):
    """What one live router says of the requests that run on a draining set."""

    router: RouterNode
    running: int | None
    """Nothing while the router has not reported since the drain began."""
    reported_at: datetime | None


class SetView(Record):
    """A set that is not gone, or the green of the latest rollout."""

    route_set: RouteSetId
    revision: RevisionNumber
    rollout: RolloutId
    colour: Colour | None
    """Nothing for a set that an earlier rollout left draining."""
    is_live: bool
    state: RouteSetState
    condition: SetCondition
    wanted: int
    running: int
    healthy: int
    required: int | None
    """Healthy replicas that the rollout asks for, of its own green."""
    replacements: int
    last_error: str
    replicas: tuple[ReplicaView, ...]
    failures: tuple[FailureView, ...]
    """The last replicas that ended by themselves, newest first."""
    drain_deadline: datetime | None
    load: tuple[LoadView, ...]
    """By live router, while the set drains."""
    requests_cut: int

    @property
    def running_requests(self) -> int | None:
        """Requests that run on a draining set; nothing while a live router has not reported."""
        counts = [one.running for one in self.load if one.running is not None]
        return sum(counts) if counts and len(counts) == len(self.load) else None


class RouterView(Record):
    """A live router, and what it serves of the deployment."""

    router: RouterNode
    gateway: str
    seen_at: datetime
    epoch: Epoch | None
    acknowledged: bool
    """Whether it serves the present epoch."""
    nack: str
    """Why it refused its last configuration; empty when it did not."""


class DeploymentView(Record):
    """A deployment at one moment."""

    deployment: str
    at: datetime
    """The moment, by the database's clock."""
    lifecycle: DeploymentLifecycle
    replicas: int
    frozen: bool
    epoch: Epoch
    live_set: RouteSetId | None
    live_revision: RevisionNumber | None
    panic: bool
    """Too few live replicas are healthy, so that unhealthy ones get traffic too."""
    keeper_alive: bool
    """Whether somebody vouches for health; without a keeper nothing starts, stops or is replaced."""
    rollout: RolloutRecord | None
    """The latest rollout, under way or ended."""
    sets: tuple[SetView, ...]
    routers: tuple[RouterView, ...]
    """Live routers only."""
    events: tuple[AuditEvent, ...]
    """The last lines of the audit log, oldest first."""


class DeploymentLine(Record):
    """A deployment in a list."""

    deployment: str
    lifecycle: DeploymentLifecycle
    frozen: bool
    epoch: Epoch
    live_revision: RevisionNumber | None
    wanted: int
    """Replicas of the live set."""
    healthy: int
    """Healthy replicas of the live set."""
    rollout: RolloutRecord | None
    """The latest rollout, under way or ended."""


async def view_deployment(tx: AsyncSession, name: str) -> DeploymentView | None:
    """Return how a deployment stands now; nothing when there is none of this name."""
    row = await tx.get(Deployment, name)
    if row is None:
        return None
    rollout = await latest_rollout(tx, name)
    sets = await _view_sets(tx, row, rollout)
    traffic = await read_traffic(tx, name)
    live = next((one for one in sets if one.is_live), None)
    return DeploymentView(
        deployment=name,
        at=await database_now(tx),
        lifecycle=row.lifecycle,
        replicas=row.replicas,
        frozen=row.frozen,
        epoch=Epoch(row.epoch),
        live_set=None if live is None else live.route_set,
        live_revision=None if live is None else live.revision,
        panic=traffic is not None and publish(traffic).panic,
        keeper_alive=await keeper_is_alive(tx),
        rollout=rollout,
        sets=sets,
        routers=await _view_routers(tx, row),
        events=await read_events(tx, name, limit=SHOWN_EVENTS),
    )


async def list_deployments(tx: AsyncSession) -> tuple[DeploymentLine, ...]:
    """Return every deployment that was not destroyed, by name."""
    latest = select(func.max(Rollout.id)).group_by(Rollout.deployment).scalar_subquery()
    healthy = func.count(case((_is_healthy(), Route.id)))
    rows = await tx.execute(
        select(Deployment, Rollout, RouteSet.revision, RouteSet.wanted, healthy.label("healthy"))
        .outerjoin(Rollout, (Rollout.deployment == Deployment.name) & Rollout.id.in_(latest))
        .outerjoin(RouteSet, RouteSet.id == Deployment.live_set)
        .outerjoin(Route, Route.set_id == RouteSet.id)
        .where(Deployment.lifecycle != DeploymentLifecycle.DESTROYED)
        .group_by(Deployment.name, Rollout.id, RouteSet.id)
        .order_by(Deployment.name),
    )
    return tuple(
        DeploymentLine(
            deployment=row.Deployment.name,
            lifecycle=row.Deployment.lifecycle,
            frozen=row.Deployment.frozen,
            epoch=Epoch(row.Deployment.epoch),
            live_revision=None if row.revision is None else RevisionNumber(row.revision),
            wanted=row.wanted or 0,
            healthy=row.healthy,
            rollout=None if row.Rollout is None else RolloutRecord.of(row.Rollout),
        )
        for row in rows
    )


def _is_healthy() -> ColumnElement[bool]:
    return (
        (Route.status == RouteStatus.RUNNING) & (Route.health == RouteHealthStatus.HEALTHY) & Route.ended_at.is_(None)
    )


async def _view_sets(
    tx: AsyncSession,
    deployment: Deployment,
    rollout: RolloutRecord | None,
) -> tuple[SetView, ...]:
    green = None if rollout is None else rollout.green_set
    rows = (
        await tx.scalars(
            select(RouteSet)
            .where(
                RouteSet.deployment == deployment.name,
                (RouteSet.state != RouteSetState.GONE) | (RouteSet.id == green),
            )
            .order_by(RouteSet.id),
        )
    ).all()
    replicas = await _view_replicas(tx, [row.id for row in rows])
    failures = await _view_failures(tx, [row.id for row in rows])
    load = await _view_load(tx, [row.id for row in rows if row.state is RouteSetState.DRAINING])
    return tuple(
        SetView(
            route_set=RouteSetId(row.id),
            revision=RevisionNumber(row.revision),
            rollout=RolloutId(row.rollout),
            colour=_colour(RouteSetId(row.id), rollout),
            is_live=row.id == deployment.live_set,
            state=row.state,
            condition=row.condition,
            wanted=row.wanted,
            running=sum(one.status is RouteStatus.RUNNING for one in replicas[row.id]),
            healthy=sum(
                one.status is RouteStatus.RUNNING and one.health is RouteHealthStatus.HEALTHY
                for one in replicas[row.id]
            ),
            required=_required(row, rollout),
            replacements=row.replacements,
            last_error=row.last_error,
            replicas=tuple(replicas[row.id]),
            failures=tuple(failures[row.id][:_SHOWN_FAILURES]),
            drain_deadline=row.drain_deadline,
            load=tuple(load[row.id]),
            requests_cut=row.requests_cut,
        )
        for row in rows
    )


def _colour(route_set: RouteSetId, rollout: RolloutRecord | None) -> Colour | None:
    if rollout is None:
        return None
    if route_set == rollout.green_set:
        return Colour.GREEN
    return Colour.BLUE if route_set == rollout.blue_set else None


def _required(row: RouteSet, rollout: RolloutRecord | None) -> int | None:
    if rollout is None or row.id != rollout.green_set:
        return None
    return required_healthy(row.wanted, rollout.policy.min_healthy)


async def _view_replicas(tx: AsyncSession, sets: list[int]) -> defaultdict[int, list[ReplicaView]]:
    found: defaultdict[int, list[ReplicaView]] = defaultdict(list)
    rows = await tx.scalars(
        select(Route).where(Route.set_id.in_(sets), Route.ended_at.is_(None)).order_by(Route.created_at, Route.id),
    )
    for row in rows:
        found[row.set_id].append(
            ReplicaView(
                route=RouteId(row.id),
                host=row.host,
                port=row.port,
                status=row.status,
                health=row.health,
                created_at=row.created_at,
                started_at=row.started_at,
                last_error=row.last_error,
            ),
        )
    return found


async def _view_failures(tx: AsyncSession, sets: list[int]) -> defaultdict[int, list[FailureView]]:
    """Return replicas that ended with an error; those that were stopped in good order are left out."""
    found: defaultdict[int, list[FailureView]] = defaultdict(list)
    rows = await tx.scalars(
        select(Route)
        .where(
            Route.set_id.in_(sets),
            Route.ended_at.is_not(None),
            (Route.status == RouteStatus.FAILED_TO_START) | (Route.last_error != ""),
        )
        .order_by(Route.ended_at.desc(), Route.id)
        .limit(_SHOWN_FAILURES * max(1, len(sets))),
    )
    for row in rows:
        if row.ended_at is not None:
            found[row.set_id].append(
                FailureView(
                    route=RouteId(row.id),
                    port=row.port,
                    status=row.status,
                    ended_at=row.ended_at,
                    last_error=row.last_error,
                    output=row.output,
                ),
            )
    return found


async def _view_load(tx: AsyncSession, sets: list[int]) -> defaultdict[int, list[LoadView]]:
    """Return what live routers report of draining sets; a report from before the drain says nothing."""
    found: defaultdict[int, list[LoadView]] = defaultdict(list)
    rows = await tx.execute(
        select(RouteSet.id, Router.node, RouterLoad.running, RouterLoad.reported_at)
        .select_from(RouteSet)
        .join(Router, is_live)
        .outerjoin(
            RouterLoad,
            (RouterLoad.route_set == RouteSet.id)
            & (RouterLoad.router == Router.node)
            & (RouterLoad.reported_at >= RouteSet.drain_since),
        )
        .where(RouteSet.id.in_(sets))
        .order_by(RouteSet.id, Router.node),
    )
    for row in rows:
        found[row.id].append(LoadView(router=row.node, running=row.running, reported_at=row.reported_at))
    return found


async def _view_routers(tx: AsyncSession, deployment: Deployment) -> tuple[RouterView, ...]:
    rows = await tx.execute(
        select(Router, RouterAck.epoch)
        .outerjoin(RouterAck, (RouterAck.router == Router.node) & (RouterAck.deployment == deployment.name))
        .where(is_live)
        .order_by(Router.node),
    )
    return tuple(
        RouterView(
            router=RouterNode(row.Router.node),
            gateway=row.Router.gateway,
            seen_at=row.Router.seen_at,
            epoch=None if row.epoch is None else Epoch(row.epoch),
            acknowledged=row.epoch is not None and row.epoch >= deployment.epoch,
            nack=row.Router.nack,
        )
        for row in rows
    )
