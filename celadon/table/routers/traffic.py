"""Reading what routers must be told: sets that are open or draining, with their members."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from celadon.domain.decisions.publication import DeploymentTraffic, Member, SetRole, SetTraffic
from celadon.domain.language.names import Epoch, RouteId, RouteSetId
from celadon.domain.language.ports import PortProtocol, grpc_streams, main_port, port_with, stored_ports
from celadon.domain.language.revision import Provisioner
from celadon.domain.language.states import DeploymentLifecycle, RouteHealthStatus, RouteSetState, RouteStatus
from celadon.table.core.deployment_rules import is_destroyed
from celadon.table.core.models import Deployment, DeploymentHost, RevisionRow, Rollout, Route, RouteSet
from celadon.table.core.traffic_settings import SETTINGS_COLUMNS, settings_of

_GOOD_HEALTH = frozenset({RouteHealthStatus.HEALTHY, RouteHealthStatus.DEGRADED})

_Bake = aliased(Rollout)
"""The rollout that bakes; its blue stays warm."""
_TrafficRow = Row[*tuple[Any, ...]]

_hosts = (
    select(DeploymentHost.deployment, func.array_agg(DeploymentHost.host).label("hosts"))
    .group_by(DeploymentHost.deployment)
    .subquery()
)
_query = (
    select(
        Deployment.name,
        Deployment.epoch,
        Deployment.live_set,
        Deployment.lifecycle,
        Deployment.panicking,
        *SETTINGS_COLUMNS,
        _hosts.c.hosts,
        RouteSet.id.label("route_set"),
        RouteSet.state,
        RouteSet.wanted,
        Rollout.switch_epoch,
        _Bake.policy["failover"].label("failover"),
        RevisionRow.content["provisioner"].as_string().label("provisioner"),
        RevisionRow.content["ports"].label("ports"),
        Route.id.label("route"),
        Route.host,
        Route.port,
        Route.other_ports,
        Route.status,
        Route.health,
        Route.leaving_epoch,
        Route.ready_at,
    )
    .outerjoin(_hosts, _hosts.c.deployment == Deployment.name)
    .outerjoin(RouteSet, (RouteSet.deployment == Deployment.name) & (RouteSet.state != RouteSetState.GONE))
    .outerjoin(Rollout, Rollout.id == RouteSet.rollout)
    .outerjoin(
        _Bake,
        (_Bake.deployment == Deployment.name)
        & _Bake.outcome.is_(None)
        & (_Bake.green_set == Deployment.live_set)
        & (_Bake.blue_set == RouteSet.id),
    )
    .outerjoin(
        RevisionRow,
        (RevisionRow.deployment == RouteSet.deployment) & (RevisionRow.number == RouteSet.revision),
    )
    .outerjoin(
        Route,
        (Route.set_id == RouteSet.id)
        & Route.ended_at.is_(None)
        & Route.status.in_([RouteStatus.RUNNING, RouteStatus.TERMINATING]),
    )
    .where(~is_destroyed)
    .order_by(Deployment.name, RouteSet.id, Route.id)
)
_query_of_one = _query.where(Deployment.name == bindparam("deployment"))
_epochs = select(Deployment.name, Deployment.epoch).where(~is_destroyed)


async def read_traffic(tx: AsyncSession, deployment: str) -> DeploymentTraffic | None:
    """Return a deployment's traffic at its present epoch; nothing when there is no such deployment."""
    rows = (await tx.execute(_query_of_one, {"deployment": deployment})).all()
    return _traffic(rows) if rows else None


async def read_all_traffic(tx: AsyncSession) -> list[DeploymentTraffic]:
    """Return the traffic of every deployment, by name."""
    rows = (await tx.execute(_query)).all()
    return [_traffic(list(group)) for _, group in groupby(rows, key=lambda row: row.name)]


async def read_epochs(tx: AsyncSession) -> dict[str, Epoch]:
    """Return the epoch of every deployment, to find changes whose notification was missed."""
    return {name: Epoch(epoch) for name, epoch in await tx.execute(_epochs)}


def _traffic(rows: Iterable[_TrafficRow]) -> DeploymentTraffic:
    rows = list(rows)
    first = rows[0]
    sets = [
        _set_traffic(RouteSetId(route_set), list(members))
        for route_set, members in groupby(rows, key=lambda row: row.route_set)
        if route_set is not None
    ]
    return DeploymentTraffic(
        deployment=first.name,
        epoch=Epoch(first.epoch),
        routed=first.lifecycle is not DeploymentLifecycle.DESTROYING,
        sets=tuple(sets),
        hosts=tuple(sorted(first.hosts or ())),
        settings=settings_of(first),
        panicking=first.panicking,
    )


def _set_traffic(route_set: RouteSetId, rows: list[_TrafficRow]) -> SetTraffic:
    first = rows[0]
    ports = stored_ports(first.ports)
    main, http, grpc = main_port(ports), port_with(ports, PortProtocol.HTTP1), port_with(ports, PortProtocol.H2C)

    def number_of(row: _TrafficRow, port: str | None) -> int | None:
        numbers: dict[str | None, int] = {main: row.port, **(row.other_ports or {})}
        return numbers.get(port)

    return SetTraffic(
        route_set=route_set,
        role=_role(first),
        wanted=first.wanted,
        named_by_revision=first.provisioner == Provisioner.STATIC,
        serves_http=http is not None,
        grpc_streams=grpc_streams(ports),
        members=tuple(
            Member(
                route=RouteId(row.route),
                host=row.host,
                http=number_of(row, http),
                grpc=number_of(row, grpc),
                health=row.health,
                terminating=row.status is RouteStatus.TERMINATING,
                leaving_epoch=None if row.leaving_epoch is None else Epoch(row.leaving_epoch),
                ready=row.ready_at is not None or row.health in _GOOD_HEALTH,
            )
            for row in rows
            if row.route is not None
        ),
    )


def _role(row: _TrafficRow) -> SetRole:
    """An open set that is not live is green until its rollout has switched; after that it was live and bakes.

    A rollout that began before there was such a policy has not said that blue may take anything.
    """
    if row.route_set == row.live_set:
        return SetRole.LIVE
    if row.state is RouteSetState.OPEN and row.failover is True:
        return SetRole.WARM
    if row.state is RouteSetState.DRAINING or row.switch_epoch is not None:
        return SetRole.DRAINING
    return SetRole.GREEN
