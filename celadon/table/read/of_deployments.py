"""What many deployments have, read at once: one statement for a page of each of them."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Protocol, TypeVar

from sqlalchemy import Select, Subquery, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from celadon.domain.language.names import RevisionNumber, RolloutId, RouteId, RouterNode, RouteSetId
from celadon.domain.language.revision import with_stated_check
from celadon.domain.language.states import (
    RouteSetState,
    RouteTrafficStatus,
)
from celadon.table.core.models import Deployment, RevisionRow, Rollout, RolloutEvent, Route, Router, RouterAck, RouteSet
from celadon.table.core.router_rules import is_live
from celadon.table.read.event_order import event_of
from celadon.table.read.history import record_of
from celadon.table.read.listing import paged
from celadon.table.records.events import DeploymentEvent
from celadon.table.records.revisions import RevisionRecord
from celadon.table.records.rollouts import RolloutRecord
from celadon.table.records.route_sets import RouteRecord, RouteSetRecord
from celadon.table.records.routers import AcknowledgementRecord


class _OfDeployment(Protocol):
    @property
    def deployment(self) -> str: ...


RecordT = TypeVar("RecordT", bound=_OfDeployment)


async def events_of(
    tx: AsyncSession,
    deployments: Collection[str],
    *,
    before: int | None,
    limit: int,
) -> defaultdict[str, list[DeploymentEvent]]:
    """Return the last lines of each deployment's audit log, newest first, with a number below ``before``."""
    last = select(RolloutEvent.id).where(RolloutEvent.deployment == Deployment.name)
    newest = _each(deployments, paged(last, RolloutEvent.id, past=before, limit=limit, newest_first=True))
    rows = await tx.scalars(
        select(RolloutEvent).join(newest, newest.c.id == RolloutEvent.id).order_by(RolloutEvent.id.desc()),
    )
    return _by_deployment(event_of(row) for row in rows)


async def rollouts_of(
    tx: AsyncSession,
    deployments: Collection[str],
    *,
    before: int | None,
    limit: int,
) -> defaultdict[str, list[RolloutRecord]]:
    """Return the last rollouts of each deployment, newest first, with a number below ``before``."""
    last = select(Rollout.id).where(Rollout.deployment == Deployment.name)
    newest = _each(deployments, paged(last, Rollout.id, past=before, limit=limit, newest_first=True))
    rows = await tx.scalars(select(Rollout).join(newest, newest.c.id == Rollout.id).order_by(Rollout.id.desc()))
    return _by_deployment(record_of(row) for row in rows)


async def revisions_of(
    tx: AsyncSession,
    deployments: Collection[str],
    *,
    before: int | None,
    limit: int,
) -> defaultdict[str, list[RevisionRecord]]:
    """Return the last revisions of each deployment, newest first, with a number below ``before``."""
    last = select(RevisionRow.number).where(RevisionRow.deployment == Deployment.name)
    newest = _each(deployments, paged(last, RevisionRow.number, past=before, limit=limit, newest_first=True))
    rows = await tx.scalars(
        select(RevisionRow)
        .join(newest, (newest.c.number == RevisionRow.number) & (newest.c.deployment == RevisionRow.deployment))
        .order_by(RevisionRow.number.desc()),
    )
    return _by_deployment(
        RevisionRecord(
            deployment=row.deployment,
            number=RevisionNumber(row.number),
            digest=row.digest,
            content=with_stated_check(row.content),
            created_at=row.created_at,
        )
        for row in rows
    )


async def route_sets_of(
    tx: AsyncSession,
    deployments: Collection[str],
    *,
    after: int | None,
    limit: int,
) -> defaultdict[str, list[RouteSetRecord]]:
    """Return the sets of each deployment that are not gone, oldest first, with a number above ``after``."""
    there = select(RouteSet.id).where(RouteSet.deployment == Deployment.name, RouteSet.state != RouteSetState.GONE)
    page = _each(deployments, paged(there, RouteSet.id, past=after, limit=limit))
    rows = await tx.execute(
        select(RouteSet, Deployment.live_set)
        .join(page, page.c.id == RouteSet.id)
        .join(Deployment, Deployment.name == RouteSet.deployment)
        .order_by(RouteSet.id),
    )
    return _by_deployment(
        RouteSetRecord(
            route_set=RouteSetId(row.id),
            deployment=row.deployment,
            revision=RevisionNumber(row.revision),
            rollout=RolloutId(row.rollout),
            is_live=row.id == live,
            state=row.state,
            condition=row.condition,
            wanted=row.wanted,
            last_error=row.last_error,
            drain_deadline=row.drain_deadline,
            requests_cut=row.requests_cut,
        )
        for row, live in rows
    )


async def routes_of(
    tx: AsyncSession,
    deployments: Collection[str],
    *,
    after: str | None,
    limit: int,
) -> defaultdict[str, list[RouteRecord]]:
    """Return the replicas of each deployment that have not ended, by set and oldest first.

    Args:
        tx: the transaction.
        deployments: whose replicas are meant.
        after: only those that come after this replica, which may have ended; none when there is no such replica.
        limit: how many at most of each deployment.

    """
    order = (Route.set_id, Route.created_at, Route.id)
    there = (
        select(Route.id)
        .join(RouteSet, RouteSet.id == Route.set_id)
        .where(RouteSet.deployment == Deployment.name, Route.ended_at.is_(None))
    )
    last = aliased(Route)
    place = select(last.set_id, last.created_at, last.id).where(last.id == after).scalar_subquery()
    page = _each(deployments, paged(there, *order, past=None if after is None else place, limit=limit))
    rows = await tx.execute(
        select(Route, RouteSet.deployment, RouteSet.revision, Deployment.live_set)
        .join(page, page.c.id == Route.id)
        .join(RouteSet, RouteSet.id == Route.set_id)
        .join(Deployment, Deployment.name == RouteSet.deployment)
        .order_by(*order),
    )
    return _by_deployment(
        RouteRecord(
            route=RouteId(row.id),
            deployment=deployment,
            route_set=RouteSetId(row.set_id),
            revision=RevisionNumber(revision),
            host=row.host,
            port=row.port,
            other_ports=dict(row.other_ports),
            status=row.status,
            health=row.health,
            traffic=RouteTrafficStatus.ACTIVE if row.set_id == live else RouteTrafficStatus.INACTIVE,
            created_at=row.created_at,
            started_at=row.started_at,
            last_error=row.last_error,
        )
        for row, deployment, revision, live in rows
    )


async def acknowledgements_of(
    tx: AsyncSession,
    deployments: Collection[str],
    *,
    after: str | None,
    limit: int,
) -> defaultdict[str, list[AcknowledgementRecord]]:
    """Return what each live router serves of each deployment, by router, those after the router ``after``."""
    page = paged(select(Router.node).where(is_live), Router.node, past=after, limit=limit).subquery()
    rows = await tx.execute(
        select(page.c.node, Deployment.name, Deployment.epoch, RouterAck.epoch.label("served"))
        .select_from(page)
        .join(Deployment, Deployment.name.in_(deployments))
        .outerjoin(RouterAck, (RouterAck.router == page.c.node) & (RouterAck.deployment == Deployment.name))
        .order_by(page.c.node),
    )
    return _by_deployment(
        AcknowledgementRecord(
            router=RouterNode(row.node),
            deployment=row.name,
            epoch=row.served,
            acknowledged=row.served is not None and row.served >= row.epoch,
        )
        for row in rows
    )


def _by_deployment(records: Iterable[RecordT]) -> defaultdict[str, list[RecordT]]:
    by_deployment: defaultdict[str, list[RecordT]] = defaultdict(list)
    for record in records:
        by_deployment[record.deployment].append(record)
    return by_deployment


def _each(deployments: Collection[str], page: Select[Any]) -> Subquery:
    """Return ``page`` of each deployment with its name: by an index, however much there is that is not asked for."""
    lateral = page.lateral()
    return (
        select(Deployment.name.label("deployment"), *lateral.c)
        .join(lateral, true())
        .where(Deployment.name.in_(deployments))
        .subquery()
    )
