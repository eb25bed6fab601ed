"""What the keeper reads: sets that are open or draining, with their replicas that have not ended."""

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.names import Epoch, RevisionNumber, RouteId, RouteSetId
from celadon.domain.revision import Revision
from celadon.domain.states import RouteHealthStatus, RouteSetState, RouteStatus, SetCondition
from celadon.domain.strictness import Record
from celadon.table.condition import Census, due_condition
from celadon.table.models import Deployment, RevisionRow, Rollout, Route, RouteSet
from celadon.table.policies import read_policy


class SetVersion(Record):
    """What changes whenever the keeper has something to do for a set."""

    route_set: RouteSetId
    epoch: Epoch
    """Of the set's deployment: it rises with every change of a replica and of traffic."""
    state: RouteSetState
    wanted: int
    condition: SetCondition


class KeptRoute(Record):
    """One replica that has not ended, as the keeper sees it."""

    route: RouteId
    host: str
    port: int
    status: RouteStatus
    health: RouteHealthStatus


class KeptSet(Record):
    """One set that is open or draining, with all that the keeper needs to look after it."""

    version: SetVersion
    deployment: str
    revision_number: RevisionNumber
    revision: Revision
    due: SetCondition
    """The condition that the rollout should have been told; the version has the one that it was."""
    was_live: bool
    """Whether it is or has been its deployment's live set."""
    router_ack_timeout: timedelta
    drain_epoch: Epoch | None
    drain_deadline: datetime | None
    routes: tuple[KeptRoute, ...]
    """Oldest first."""

    @property
    def route_set(self) -> RouteSetId:
        """The set's id."""
        return self.version.route_set

    @property
    def state(self) -> RouteSetState:
        """Whether it is to be kept full or emptied."""
        return self.version.state

    @property
    def wanted(self) -> int:
        """How many replicas it shall have."""
        return self.version.wanted

    @property
    def failed(self) -> bool:
        """Whether so many replicas have failed that none is started any more."""
        return SetCondition.FAILED in {self.version.condition, self.due}


async def read_set_versions(tx: AsyncSession) -> dict[str, frozenset[SetVersion]]:
    """Return the versions of all sets by deployment, to find changes whose notification was missed."""
    rows = await tx.execute(
        select(RouteSet.deployment, RouteSet.id, Deployment.epoch, RouteSet.state, RouteSet.wanted, RouteSet.condition)
        .join(Deployment, Deployment.name == RouteSet.deployment)
        .where(RouteSet.state != RouteSetState.GONE)
        .order_by(RouteSet.deployment),
    )
    return {
        deployment: frozenset(
            SetVersion(
                route_set=RouteSetId(row.id),
                epoch=Epoch(row.epoch),
                state=row.state,
                wanted=row.wanted,
                condition=row.condition,
            )
            for row in group
        )
        for deployment, group in groupby(rows, key=lambda row: row.deployment)
    }


async def read_kept_sets(tx: AsyncSession, deployments: Collection[str]) -> list[KeptSet]:
    """Return the sets of some deployments, oldest first."""
    rows = (
        await tx.execute(
            select(RouteSet, RevisionRow.content, Deployment.epoch, Rollout, Route)
            .join(Deployment, Deployment.name == RouteSet.deployment)
            .join(Rollout, Rollout.id == RouteSet.rollout)
            .join(
                RevisionRow,
                (RevisionRow.deployment == RouteSet.deployment) & (RevisionRow.number == RouteSet.revision),
            )
            .outerjoin(Route, (Route.set_id == RouteSet.id) & Route.ended_at.is_(None))
            .where(RouteSet.state != RouteSetState.GONE, RouteSet.deployment.in_(deployments))
            .order_by(RouteSet.id, Route.created_at, Route.id)
            .execution_options(populate_existing=True),
        )
    ).all()
    kept: list[KeptSet] = []
    for _, group in groupby(rows, key=lambda row: row[0].id):
        members = list(group)
        route_set, content, epoch, rollout, _ = members[0]
        # The outer join gives a set without replicas one row without any, which the types do not tell.
        found: list[Route | None] = [row[4] for row in members]
        routes = [route for route in found if route is not None]
        kept.append(_kept(route_set, rollout, Epoch(epoch), Revision.model_validate(content, strict=False), routes))
    return kept


def _kept(row: RouteSet, rollout: Rollout, epoch: Epoch, revision: Revision, routes: list[Route]) -> KeptSet:
    policy = read_policy(rollout.policy)
    is_open = row.state is RouteSetState.OPEN
    return KeptSet(
        version=SetVersion(
            route_set=RouteSetId(row.id),
            epoch=epoch,
            state=row.state,
            wanted=row.wanted,
            condition=row.condition,
        ),
        deployment=row.deployment,
        revision_number=RevisionNumber(row.revision),
        revision=revision,
        due=due_condition(row, rollout, policy, Census.of(routes)) if is_open else row.condition,
        was_live=rollout.switch_epoch is not None,
        router_ack_timeout=policy.router_ack_timeout,
        drain_epoch=None if row.drain_epoch is None else Epoch(row.drain_epoch),
        drain_deadline=row.drain_deadline,
        routes=tuple(
            KeptRoute(
                route=RouteId(route.id),
                host=route.host,
                port=route.port,
                status=route.status,
                health=route.health,
            )
            for route in routes
        ),
    )
