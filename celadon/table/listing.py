"""Reading many deployments at once: one statement for any number of them, in pages where there may be many."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.names import RevisionNumber, RolloutId, RouteId, RouterNode, RouteSetId
from celadon.domain.states import (
    RouteSetState,
    RouteTrafficStatus,
)
from celadon.table.acknowledgements import is_live
from celadon.table.history import record_of
from celadon.table.labels import within
from celadon.table.models import Deployment, RevisionRow, Rollout, RolloutEvent, Route, Router, RouterAck, RouteSet
from celadon.table.records.events import DeploymentEvent
from celadon.table.records.revisions import RevisionRecord
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord
from celadon.table.records.route_sets import RouteRecord, RouteSetRecord
from celadon.table.records.routers import AcknowledgementRecord


async def page_of_rollouts(
    tx: AsyncSession,
    scope: Mapping[str, str],
    wanted: RolloutFilter,
    *,
    before: int | None,
    limit: int,
) -> tuple[RolloutRecord, ...]:
    """Return rollouts newest first, at most ``limit``, older than the rollout ``before``."""
    query = select(Rollout).join(Deployment, Deployment.name == Rollout.deployment).where(within(scope))
    if wanted.deployments is not None:
        query = query.where(Rollout.deployment.in_(wanted.deployments))
    if wanted.phase is not None:
        query = query.where(Rollout.phase == wanted.phase)
    if wanted.outcome is not None:
        query = query.where(Rollout.outcome == wanted.outcome)
    if wanted.unfinished is not None:
        query = query.where(Rollout.outcome.is_(None) if wanted.unfinished else Rollout.outcome.is_not(None))
    if before is not None:
        query = query.where(Rollout.id < before)
    return tuple(record_of(row) for row in await tx.scalars(query.order_by(Rollout.id.desc()).limit(limit)))


async def rollout_within(tx: AsyncSession, scope: Mapping[str, str], rollout: int) -> RolloutRecord | None:
    """Return one rollout of a deployment that bears the labels of ``scope``."""
    row = await tx.scalar(
        select(Rollout)
        .join(Deployment, Deployment.name == Rollout.deployment)
        .where(Rollout.id == rollout, within(scope)),
    )
    return None if row is None else record_of(row)


async def events_after(
    tx: AsyncSession,
    scope: Mapping[str, str],
    deployment: str | None,
    after: int,
    limit: int,
) -> tuple[DeploymentEvent, ...]:
    """Return lines of the audit log with a number above ``after``, oldest first, of one deployment or of all."""
    query = select(RolloutEvent).where(RolloutEvent.id > after)
    if scope:
        query = query.join(Deployment, Deployment.name == RolloutEvent.deployment).where(within(scope))
    if deployment is not None:
        query = query.where(RolloutEvent.deployment == deployment)
    return tuple(_event(row) for row in await tx.scalars(query.order_by(RolloutEvent.id).limit(limit)))


async def last_event(tx: AsyncSession) -> int:
    """Return the number of the newest line of the audit log; 0 when there is none."""
    return await tx.scalar(select(func.max(RolloutEvent.id))) or 0


async def events_of(
    tx: AsyncSession,
    deployments: Collection[str],
    *,
    before: int | None,
    limit: int,
) -> defaultdict[str, list[DeploymentEvent]]:
    """Return the last lines of each deployment's audit log, newest first, with a number below ``before``."""
    numbered = select(
        RolloutEvent.id,
        func.row_number().over(partition_by=RolloutEvent.deployment, order_by=RolloutEvent.id.desc()).label("place"),
    ).where(RolloutEvent.deployment.in_(deployments))
    if before is not None:
        numbered = numbered.where(RolloutEvent.id < before)
    places = numbered.subquery()
    rows = await tx.scalars(
        select(RolloutEvent)
        .join(places, places.c.id == RolloutEvent.id)
        .where(places.c.place <= limit)
        .order_by(RolloutEvent.id.desc()),
    )
    found: defaultdict[str, list[DeploymentEvent]] = defaultdict(list)
    for row in rows:
        found[row.deployment].append(_event(row))
    return found


async def rollouts_of(
    tx: AsyncSession,
    deployments: Collection[str],
    limit: int,
) -> defaultdict[str, list[RolloutRecord]]:
    """Return the last rollouts of each deployment, newest first."""
    places = (
        select(
            Rollout.id,
            func.row_number().over(partition_by=Rollout.deployment, order_by=Rollout.id.desc()).label("place"),
        )
        .where(Rollout.deployment.in_(deployments))
        .subquery()
    )
    rows = await tx.scalars(
        select(Rollout)
        .join(places, places.c.id == Rollout.id)
        .where(places.c.place <= limit)
        .order_by(
            Rollout.id.desc(),
        ),
    )
    found: defaultdict[str, list[RolloutRecord]] = defaultdict(list)
    for row in rows:
        found[row.deployment].append(record_of(row))
    return found


async def revisions_of(
    tx: AsyncSession,
    deployments: Collection[str],
) -> defaultdict[str, list[RevisionRecord]]:
    """Return every revision of each deployment, newest first."""
    rows = await tx.scalars(
        select(RevisionRow).where(RevisionRow.deployment.in_(deployments)).order_by(RevisionRow.number.desc()),
    )
    found: defaultdict[str, list[RevisionRecord]] = defaultdict(list)
    for row in rows:
        found[row.deployment].append(
            RevisionRecord(
                deployment=row.deployment,
                number=RevisionNumber(row.number),
                digest=row.digest,
                content=row.content,
                created_at=row.created_at,
            ),
        )
    return found


async def route_sets_of(
    tx: AsyncSession,
    deployments: Collection[str],
) -> defaultdict[str, list[RouteSetRecord]]:
    """Return the sets of each deployment that are not gone, oldest first."""
    rows = await tx.execute(
        select(RouteSet, Deployment.live_set)
        .join(Deployment, Deployment.name == RouteSet.deployment)
        .where(RouteSet.deployment.in_(deployments), RouteSet.state != RouteSetState.GONE)
        .order_by(RouteSet.id),
    )
    found: defaultdict[str, list[RouteSetRecord]] = defaultdict(list)
    for row, live in rows:
        found[row.deployment].append(
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
            ),
        )
    return found


async def routes_of(tx: AsyncSession, deployments: Collection[str]) -> defaultdict[str, list[RouteRecord]]:
    """Return the replicas of each deployment that have not ended, oldest first."""
    rows = await tx.execute(
        select(Route, RouteSet.deployment, RouteSet.revision, Deployment.live_set)
        .join(RouteSet, RouteSet.id == Route.set_id)
        .join(Deployment, Deployment.name == RouteSet.deployment)
        .where(RouteSet.deployment.in_(deployments), Route.ended_at.is_(None))
        .order_by(Route.set_id, Route.created_at, Route.id),
    )
    found: defaultdict[str, list[RouteRecord]] = defaultdict(list)
    for row, deployment, revision, live in rows:
        found[deployment].append(
            RouteRecord(
                route=RouteId(row.id),
                deployment=deployment,
                route_set=RouteSetId(row.set_id),
                revision=RevisionNumber(revision),
                host=row.host,
                port=row.port,
                status=row.status,
                health=row.health,
                traffic=RouteTrafficStatus.ACTIVE if row.set_id == live else RouteTrafficStatus.INACTIVE,
                created_at=row.created_at,
                started_at=row.started_at,
                last_error=row.last_error,
            ),
        )
    return found


async def acknowledgements_of(
    tx: AsyncSession,
    deployments: Collection[str],
) -> defaultdict[str, list[AcknowledgementRecord]]:
    """Return what each live router serves of each deployment, by router."""
    rows = await tx.execute(
        select(Router.node, Deployment.name, Deployment.epoch, RouterAck.epoch.label("served"))
        .select_from(Router)
        .join(Deployment, Deployment.name.in_(deployments))
        .outerjoin(RouterAck, (RouterAck.router == Router.node) & (RouterAck.deployment == Deployment.name))
        .where(is_live)
        .order_by(Router.node),
    )
    found: defaultdict[str, list[AcknowledgementRecord]] = defaultdict(list)
    for row in rows:
        found[row.name].append(
            AcknowledgementRecord(
                router=RouterNode(row.node),
                deployment=row.name,
                epoch=row.served,
                acknowledged=row.served is not None and row.served >= row.epoch,
            ),
        )
    return found


def _event(row: RolloutEvent) -> DeploymentEvent:
    return DeploymentEvent(
        id=row.id,
        deployment=row.deployment,
        rollout=None if row.rollout is None else RolloutId(row.rollout),
        at=row.at,
        kind=row.kind,
        actor=row.actor,
        issuer=row.issuer,
        door=row.door,
        verified=row.verified,
        reason=row.reason,
        evidence={name: str(value) for name, value in row.evidence.items()},
    )
