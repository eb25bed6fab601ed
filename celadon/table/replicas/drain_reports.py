"""What live routers say of the requests that still run: on draining sets, and on members that leave."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.drain import RouterDrain
from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Epoch, RouteId, RouteSetId
from celadon.table.core.models import MemberLoad, Route, Router, RouterAck, RouterLoad, RouteSet
from celadon.table.core.router_rules import counts_for_drain, is_live


class DrainReports(Record):
    """What all live routers say of some draining sets at one moment of the database's clock."""

    at: datetime
    routers: dict[RouteSetId, tuple[RouterDrain, ...]]


class DepartureReports(Record):
    """What all live routers say of leaving members at one moment of the database's clock."""

    at: datetime
    routers: dict[tuple[RouteId, Epoch], tuple[RouterDrain, ...]]
    """By member and by the epoch of its departure."""


_now = select(func.clock_timestamp().label("at")).subquery("clock")
"""Each answer begins with it, so that there is a row, with the moment, although no router has anything to say."""

_drain_reports: Final = (
    select(
        _now.c.at,
        RouteSet.id,
        Router.node,
        RouterAck.epoch,
        RouteSet.drain_epoch,
        RouterLoad.running,
        RouterLoad.zero_reports,
    )
    .select_from(_now)
    .outerjoin(RouteSet, RouteSet.id.in_(bindparam("sets", expanding=True)))
    .outerjoin(Router, is_live)
    .outerjoin(RouterAck, (RouterAck.router == Router.node) & (RouterAck.deployment == RouteSet.deployment))
    .outerjoin(
        RouterLoad,
        (RouterLoad.router == Router.node) & (RouterLoad.route_set == RouteSet.id) & counts_for_drain,
    )
    .order_by(RouteSet.id, Router.node)
)
_leaving = (
    select(Route.id, Route.leaving_epoch, RouteSet.deployment)
    .join(RouteSet, RouteSet.id == Route.set_id)
    .where(
        RouteSet.id.in_(bindparam("sets", expanding=True)), Route.ended_at.is_(None), Route.leaving_epoch.is_not(None)
    )
    .subquery("leaving")
)
_departure_reports: Final = (
    select(
        _now.c.at,
        _leaving.c.id,
        _leaving.c.leaving_epoch,
        Router.node,
        RouterAck.epoch,
        MemberLoad.running,
        MemberLoad.zero_reports,
    )
    .select_from(_now)
    .outerjoin(_leaving, true())
    .outerjoin(Router, is_live)
    .outerjoin(RouterAck, (RouterAck.router == Router.node) & (RouterAck.deployment == _leaving.c.deployment))
    .outerjoin(
        MemberLoad,
        (MemberLoad.router == Router.node)
        & (MemberLoad.route == _leaving.c.id)
        & (MemberLoad.epoch == _leaving.c.leaving_epoch),
    )
    .order_by(_leaving.c.id, Router.node)
)


async def read_drain_reports(tx: AsyncSession, route_sets: Collection[RouteSetId]) -> DrainReports:
    """Return what every live router says of draining sets; a report from before the drain says nothing."""
    rows = (await tx.execute(_drain_reports, {"sets": list(route_sets)})).all()
    routers: defaultdict[RouteSetId, list[RouterDrain]] = defaultdict(list)
    for row in rows:
        if row.id is None or row.node is None:
            continue
        routers[RouteSetId(row.id)].append(
            RouterDrain(
                router=row.node,
                acknowledged=row.epoch is not None and row.drain_epoch is not None and row.epoch >= row.drain_epoch,
                running=row.running,
                zero_reports=row.zero_reports or 0,
            ),
        )
    return DrainReports(
        at=rows[0].at,
        routers={route_set: tuple(routers[route_set]) for route_set in route_sets},
    )


async def read_departure_reports(tx: AsyncSession, route_sets: Collection[RouteSetId]) -> DepartureReports:
    """Return what every live router says of the members that leave these sets, each for its present departure."""
    rows = (await tx.execute(_departure_reports, {"sets": list(route_sets)})).all()
    routers: defaultdict[tuple[RouteId, Epoch], list[RouterDrain]] = defaultdict(list)
    for row in rows:
        if row.id is None:
            continue
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
    return DepartureReports(at=rows[0].at, routers={key: tuple(reports) for key, reports in routers.items()})
