"""What the keeper reads: sets that are open or draining, with their replicas that have not ended."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row, Text, bindparam, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Epoch, RevisionNumber, RouteId, RouteSetId
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.revision import Revision
from celadon.domain.language.states import RouteHealthStatus, RouteSetState, RouteStatus, SetCondition
from celadon.table.core.models import Deployment, RevisionRow, Rollout, Route, RouteSet
from celadon.table.rollouts.condition import Census, due_condition


class SetVersion(Record):
    """What changes whenever the keeper has something to do for a set."""

    route_set: RouteSetId
    epoch: Epoch
    """Of the set's deployment: it rises with every change of a replica and of traffic."""
    state: RouteSetState
    wanted: int
    condition: SetCondition


class ManagedRoute(Record):
    """One replica that has not ended, as the keeper sees it."""

    route: RouteId
    host: str
    port: int
    """The main one."""
    other_ports: Mapping[str, int] = MappingProxyType({})
    """The numbers of its other ports by name."""
    status: RouteStatus
    health: RouteHealthStatus
    was_ready: bool = False
    """Whether it has ever been healthy."""
    age: timedelta = timedelta(0)
    """Since it was written down until it was read."""
    leaving_epoch: Epoch | None = None
    """Set when it was told to leave its set: from this epoch on routers send it no new request."""
    leaving_deadline: datetime | None = None


class ManagedSet(Record):
    """One set that is open or draining, with all that the keeper needs to look after it."""

    version: SetVersion
    deployment: str
    revision_number: RevisionNumber
    revision: Revision
    due: SetCondition
    """The condition that the rollout should have been told; the version has the one that it was."""
    start_timeout: timedelta
    """How long a replica may take from its start until it is healthy."""
    was_live: bool
    """Whether it is or has been its deployment's live set."""
    router_ack_timeout: timedelta
    """How long the rollout that parts with it waits for routers."""
    drain_epoch: Epoch | None
    drain_deadline: datetime | None
    routes: tuple[ManagedRoute, ...]
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
    def leaving(self) -> tuple[ManagedRoute, ...]:
        """The replicas of an open set that run and were told to leave it."""
        if self.state is not RouteSetState.OPEN:
            return ()
        return tuple(one for one in self.routes if one.leaving_epoch is not None and one.status is RouteStatus.RUNNING)

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


_last = aliased(Rollout)
_last_policy = (
    select(_last.policy)
    .where(
        _last.deployment == RouteSet.deployment,
        (_last.blue_set == RouteSet.id) | (_last.green_set == RouteSet.id),
    )
    .order_by(_last.id.desc())
    .limit(1)
    .scalar_subquery()
)
"""The rollout that opened a set says what its replicas need; how to part with it, the last one that had it says."""

_managed_sets = (
    select(
        RouteSet,
        Deployment.epoch,
        Rollout.switch_epoch,
        cast(RevisionRow.content, Text).label("content"),
        cast(Rollout.policy, Text).label("policy"),
        cast(_last_policy, Text).label("last_policy"),
    )
    .join(Deployment, Deployment.name == RouteSet.deployment)
    .join(Rollout, Rollout.id == RouteSet.rollout)
    .join(
        RevisionRow,
        (RevisionRow.deployment == RouteSet.deployment) & (RevisionRow.number == RouteSet.revision),
    )
    .where(RouteSet.state != RouteSetState.GONE, RouteSet.deployment.in_(bindparam("deployments", expanding=True)))
    .order_by(RouteSet.id)
    .execution_options(populate_existing=True)
)
_managed_routes = (
    select(
        Route.id,
        Route.set_id,
        Route.host,
        Route.port,
        Route.other_ports,
        Route.status,
        Route.health,
        Route.ready_at,
        Route.leaving_epoch,
        Route.leaving_deadline,
        (func.clock_timestamp() - Route.created_at).label("age"),
    )
    .where(Route.set_id.in_(bindparam("sets", expanding=True)), Route.ended_at.is_(None))
    .order_by(Route.created_at, Route.id)
)


async def read_managed_sets(tx: AsyncSession, deployments: Collection[str]) -> list[ManagedSet]:
    """Return the sets of some deployments, oldest first."""
    sets = (await tx.execute(_managed_sets, {"deployments": list(deployments)})).all()
    # Apart from their sets, whose contents would otherwise come, and be parsed, once for each replica. Read after them:
    # replicas that are newer than their set's version are read again, older ones would not be.
    routes: defaultdict[int, list[Row[*tuple[Any, ...]]]] = defaultdict(list)
    for route in await tx.execute(_managed_routes, {"sets": [row[0].id for row in sets]}):
        routes[route.set_id].append(route)
    return [_managed(row, routes[row[0].id]) for row in sets]


async def read_unended_routes(tx: AsyncSession) -> frozenset[RouteId]:
    """Return every replica that has not ended, of all deployments."""
    return frozenset(RouteId(route) for route in await tx.scalars(select(Route.id).where(Route.ended_at.is_(None))))


@lru_cache(maxsize=1024)
def _revision(content: str) -> Revision:
    return Revision.of_stored(json.loads(content))


@lru_cache(maxsize=1024)
def _policy(stored: str) -> BlueGreenPolicy:
    return BlueGreenPolicy.model_validate_json(stored, strict=False)


def _managed(read: Row[*tuple[Any, ...]], routes: list[Row[*tuple[Any, ...]]]) -> ManagedSet:
    row: RouteSet = read[0]
    policy, revision = _policy(read.policy), _revision(read.content)
    is_open = row.state is RouteSetState.OPEN
    return ManagedSet(
        version=SetVersion(
            route_set=RouteSetId(row.id),
            epoch=Epoch(read.epoch),
            state=row.state,
            wanted=row.wanted,
            condition=row.condition,
        ),
        deployment=row.deployment,
        revision_number=RevisionNumber(row.revision),
        revision=revision,
        due=due_condition(row, policy, Census.of(routes), switch_epoch=read.switch_epoch) if is_open else row.condition,
        start_timeout=policy.provisioning_deadline if revision.start_timeout is None else revision.start_timeout,
        was_live=read.switch_epoch is not None,
        router_ack_timeout=policy.router_ack_timeout
        if read.last_policy is None
        else _policy(read.last_policy).router_ack_timeout,
        drain_epoch=None if row.drain_epoch is None else Epoch(row.drain_epoch),
        drain_deadline=row.drain_deadline,
        routes=tuple(
            ManagedRoute(
                route=RouteId(route.id),
                host=route.host,
                port=route.port,
                other_ports=route.other_ports,
                status=route.status,
                health=route.health,
                was_ready=route.ready_at is not None,
                age=route.age,
                leaving_epoch=None if route.leaving_epoch is None else Epoch(route.leaving_epoch),
                leaving_deadline=route.leaving_deadline,
            )
            for route in routes
        ),
    )
