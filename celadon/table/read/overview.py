"""How a deployment stands, as people and programs look at it: both colours, replicas, routers, its latest rollout."""

from collections import defaultdict
from datetime import datetime

from sqlalchemy import BigInteger, ColumnElement, Row, cast, exists, func, select, true
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from celadon.domain.decisions.publication import publish
from celadon.domain.decisions.windows import opening_times
from celadon.domain.language.approval import Approval
from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteId, RouterNode, RouteSetId
from celadon.domain.language.next_rollout import WaitingRollout
from celadon.domain.language.opening import OpeningTimes
from celadon.domain.language.policy import required_healthy
from celadon.domain.language.states import (
    Colour,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
)
from celadon.table.core.approval_rows import read_approvals
from celadon.table.core.defaults import read_defaults
from celadon.table.core.deployment_rules import is_destroyed
from celadon.table.core.fences import keeper_is_alive
from celadon.table.core.freeze_rows import of_deployment_or_all
from celadon.table.core.labels import read_labels
from celadon.table.core.models import (
    Deployment,
    DeploymentHost,
    Failover,
    MemberLoad,
    NextRolloutRow,
    Rollout,
    Route,
    Router,
    RouterAck,
    RouterLoad,
    RouteSet,
)
from celadon.table.core.paging import LONGEST_PAGE, made_of
from celadon.table.core.pause_rows import is_paused
from celadon.table.core.policies import read_policy
from celadon.table.core.replica_rules import is_healthy_and_counts
from celadon.table.core.router_rules import counts_for_drain, is_live
from celadon.table.core.traffic_settings import SETTINGS_COLUMNS, settings_of
from celadon.table.read.history import latest_rollout, read_events, record_of
from celadon.table.read.listing import paged
from celadon.table.records.deployments import (
    DeploymentLine,
    DeploymentView,
    FailureView,
    LoadView,
    ReplicaView,
    RouterView,
    SetView,
)
from celadon.table.records.rollouts import RolloutRecord
from celadon.table.rollouts.freezes import holds as freeze_holds
from celadon.table.rollouts.freezes import read_freezes
from celadon.table.rollouts.next_rollouts import read_waiting, shown
from celadon.table.routers.traffic import read_traffic

SHOWN_EVENTS = 8
_SHOWN_FAILURES = 3
_BEFORE_SWITCH = frozenset({RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION})


async def view_deployment(tx: AsyncSession, name: str) -> DeploymentView | None:
    """Return how a deployment stands now; nothing when there is none of this name."""
    row = await tx.get(Deployment, name)
    if row is None:
        return None
    rollout = await latest_rollout(tx, name)
    sets = await _view_sets(tx, row, rollout)
    traffic = await read_traffic(tx, name)
    live = next((one for one in sets if one.is_live), None)
    read = await read_freezes(tx, name)
    return DeploymentView(
        deployment=name,
        labels=read_labels(row.labels),
        hosts=() if traffic is None else traffic.hosts,
        traffic=settings_of(row),
        at=read.at,
        lifecycle=row.lifecycle,
        replicas=row.replicas,
        policy=read_policy(row.policy),
        defaults=await read_defaults(tx),
        paused=rollout is not None and await _is_paused(tx, rollout),
        freezes=read.freezes,
        epoch=Epoch(row.epoch),
        live_set=None if live is None else live.route_set,
        live_revision=None if live is None else live.revision,
        panic=traffic is not None and publish(traffic).panic,
        keeper_alive=await keeper_is_alive(tx),
        rollout=rollout,
        next=await read_waiting(tx, name),
        sets=sets,
        routers=await _view_routers(tx, row),
        events=await read_events(tx, name, limit=SHOWN_EVENTS),
        openings=_openings(rollout, read.at),
        approvals=await _view_approvals(tx, rollout),
    )


async def _is_paused(tx: AsyncSession, rollout: RolloutRecord) -> bool:
    return bool(await tx.scalar(select(is_paused(Rollout.id)).where(Rollout.id == rollout.rollout)))


def _openings(rollout: RolloutRecord | None, now: datetime) -> OpeningTimes | None:
    if rollout is None or rollout.phase not in _BEFORE_SWITCH or not rollout.gated or not rollout.policy.windows:
        return None
    return opening_times(rollout.policy.windows, now)


async def _view_approvals(tx: AsyncSession, rollout: RolloutRecord | None) -> tuple[Approval, ...]:
    """Return who has approved the latest rollout; the query is only made where its policy asks for approvals."""
    if rollout is None or rollout.policy.approvals is None:
        return ()
    row = await tx.get(Rollout, rollout.rollout)
    return () if row is None else await read_approvals(tx, row)


async def list_deployments(
    tx: AsyncSession,
    *conditions: ColumnElement[bool],
    after: str | None = None,
    limit: int = LONGEST_PAGE,
) -> tuple[DeploymentLine, ...]:
    """Return a page of deployments that were not destroyed and fulfil the conditions: by name, those after ``after``.

    What a page costs does not grow with how many deployments, rollouts and replicas there are beside it.
    """
    there = select(Deployment).where(~is_destroyed, *conditions)
    page = aliased(Deployment, paged(there, Deployment.name, past=after, limit=limit).subquery())
    newest = (
        select(Rollout.id)
        .where(Rollout.deployment == page.name)
        .order_by(Rollout.id.desc())
        .limit(1)
        .correlate(page)
        .scalar_subquery()
    )
    healthy = (
        select(func.count(Route.id))
        .where(Route.set_id == page.live_set, is_healthy_and_counts)
        .correlate(page)
        .scalar_subquery()
    )
    frozen = exists().where(of_deployment_or_all(page.name), freeze_holds).correlate(page)
    hosts = (
        select(func.array_agg(aggregate_order_by(DeploymentHost.host, DeploymentHost.host)))
        .where(DeploymentHost.deployment == page.name)
        .correlate(page)
        .scalar_subquery()
    )
    rows = await tx.execute(
        select(
            page.name,
            page.lifecycle,
            frozen.label("frozen"),
            is_paused(Rollout.id).label("paused"),
            page.epoch,
            page.labels,
            hosts.label("hosts"),
            *(getattr(page, column.key) for column in SETTINGS_COLUMNS),
            page.replicas,
            RouteSet.revision,
            RouteSet.wanted,
            healthy.label("healthy"),
            Rollout,
            NextRolloutRow,
        )
        .select_from(page)
        .outerjoin(Rollout, Rollout.id == newest)
        .outerjoin(RouteSet, RouteSet.id == page.live_set)
        .outerjoin(NextRolloutRow, NextRolloutRow.deployment == page.name)
        .order_by(page.name),
    )
    return await made_of(
        rows.all(),
        lambda row: DeploymentLine(
            deployment=row.name,
            lifecycle=row.lifecycle,
            frozen=row.frozen,
            paused=row.paused,
            epoch=Epoch(row.epoch),
            labels=read_labels(row.labels),
            hosts=tuple(row.hosts or ()),
            traffic=settings_of(row),
            replicas=row.replicas,
            live_revision=None if row.revision is None else RevisionNumber(row.revision),
            wanted=row.wanted or 0,
            healthy=row.healthy,
            rollout=None if row.Rollout is None else record_of(row.Rollout),
            next=_waiting(row.NextRolloutRow, row.Rollout),
        ),
    )


def _waiting(row: NextRolloutRow | None, latest: Rollout | None) -> WaitingRollout | None:
    if row is None:
        return None
    return shown(row, None if latest is None or latest.outcome is not None else latest.phase)


async def list_names(tx: AsyncSession, *, limit: int | None = None) -> tuple[str, ...]:
    """Return the names of deployments that were not destroyed, in their order; all when no ``limit`` is given."""
    query = select(Deployment.name).where(~is_destroyed)
    return tuple(await tx.scalars(query.order_by(Deployment.name).limit(limit)))


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
    failures = await _view_failures(tx, [row.id for row in rows], rollout)
    cut = await _count_cut_members(tx, [row.id for row in rows])
    load = await _view_load(tx, [row.id for row in rows if row.state is RouteSetState.DRAINING])
    failovers = await _view_failovers(tx, [row.id for row in rows])
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
                one.status is RouteStatus.RUNNING
                and one.health is RouteHealthStatus.HEALTHY
                and one.leaving_deadline is None
                for one in replicas[row.id]
            ),
            required=_required(row, rollout),
            replacements=row.replacements,
            last_error=row.last_error,
            replicas=tuple(replicas[row.id]),
            failures=tuple(failures[row.id][:_SHOWN_FAILURES]),
            drain_deadline=row.drain_deadline,
            load=tuple(load[row.id]),
            requests_cut=row.requests_cut + cut.get(row.id, 0),
            failover_requests=failovers[row.id].requests if row.id in failovers else 0,
            failover_since=failovers[row.id].since if row.id in failovers else None,
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
    replicas: defaultdict[int, list[ReplicaView]] = defaultdict(list)
    running = await _view_departures(tx, sets)
    rows = await tx.scalars(
        select(Route).where(Route.set_id.in_(sets), Route.ended_at.is_(None)).order_by(Route.created_at, Route.id),
    )
    for row in rows:
        replicas[row.set_id].append(
            ReplicaView(
                route=RouteId(row.id),
                host=row.host,
                port=row.port,
                other_ports=dict(row.other_ports),
                status=row.status,
                health=row.health,
                created_at=row.created_at,
                started_at=row.started_at,
                ready_at=row.ready_at,
                last_error=row.last_error,
                leaving_deadline=row.leaving_deadline,
                running_requests=running.get(row.id),
            ),
        )
    return replicas


async def _view_departures(tx: AsyncSession, sets: list[int]) -> dict[str, int]:
    """Return the running requests of members that leave, of those of which every live router has reported."""
    rows = await tx.execute(
        select(Route.id, func.sum(MemberLoad.running).label("running"))
        .select_from(Route)
        .join(Router, is_live)
        .outerjoin(
            MemberLoad,
            (MemberLoad.route == Route.id)
            & (MemberLoad.router == Router.node)
            & (MemberLoad.epoch == Route.leaving_epoch),
        )
        .where(Route.set_id.in_(sets), Route.ended_at.is_(None), Route.leaving_epoch.is_not(None))
        .group_by(Route.id)
        .having(func.count(MemberLoad.router) == func.count()),
    )
    return {row.id: row.running for row in rows}


async def _count_cut_members(tx: AsyncSession, sets: list[int]) -> dict[int, int]:
    """Return the requests that were cut on members which left, by set."""
    rows = await tx.execute(
        select(Route.set_id, func.sum(Route.requests_cut).label("cut"))
        .where(Route.set_id.in_(sets), Route.requests_cut > 0)
        .group_by(Route.set_id),
    )
    return {row.set_id: row.cut for row in rows}


async def _view_failures(
    tx: AsyncSession,
    sets: list[int],
    rollout: RolloutRecord | None,
) -> defaultdict[int, list[FailureView]]:
    """Return replicas that ended with an error; those that were stopped in good order are left out.

    What an older set's replicas have failed with before the latest rollout began was told in another one's view.
    """
    failures: defaultdict[int, list[FailureView]] = defaultdict(list)
    rows = await tx.scalars(
        select(Route)
        .where(
            Route.set_id.in_(sets),
            Route.ended_at.is_not(None),
            (Route.status == RouteStatus.FAILED_TO_START) | (Route.last_error != ""),
            true() if rollout is None else (Route.set_id == rollout.green_set) | (Route.ended_at >= rollout.started_at),
        )
        .order_by(Route.ended_at.desc(), Route.id)
        .limit(_SHOWN_FAILURES * max(1, len(sets))),
    )
    for row in rows:
        if row.ended_at is not None:
            failures[row.set_id].append(
                FailureView(
                    route=RouteId(row.id),
                    port=row.port,
                    status=row.status,
                    ended_at=row.ended_at,
                    last_error=row.last_error,
                    output=row.output,
                ),
            )
    return failures


async def _view_failovers(tx: AsyncSession, sets: list[int]) -> dict[int, Row[int, int, datetime]]:
    """Return how many requests sets took as blue in the bake, because no replica of green could, and since when."""
    rows = await tx.execute(
        select(
            Failover.route_set,
            cast(func.sum(Failover.requests), BigInteger).label("requests"),
            func.min(Failover.began_at).label("since"),
        )
        .where(Failover.route_set.in_(sets))
        .group_by(Failover.route_set),
    )
    return {row.route_set: row for row in rows}


async def _view_load(tx: AsyncSession, sets: list[int]) -> defaultdict[int, list[LoadView]]:
    """Return what live routers report of draining sets; a report from before the drain says nothing."""
    loads: defaultdict[int, list[LoadView]] = defaultdict(list)
    rows = await tx.execute(
        select(RouteSet.id, Router.node, RouterLoad.running, RouterLoad.reported_at)
        .select_from(RouteSet)
        .join(Router, is_live)
        .outerjoin(
            RouterLoad,
            (RouterLoad.route_set == RouteSet.id) & (RouterLoad.router == Router.node) & counts_for_drain,
        )
        .where(RouteSet.id.in_(sets))
        .order_by(RouteSet.id, Router.node),
    )
    for row in rows:
        loads[row.id].append(LoadView(router=row.node, running=row.running, reported_at=row.reported_at))
    return loads


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
