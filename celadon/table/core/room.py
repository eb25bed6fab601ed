"""Room: how many replicas the sets of a deployment have together, and how many they may have.

Whoever adds any counts under the deployment's lock, which all of them take: two that each find room for one more would
otherwise go beyond the bound together.
"""

from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam, case, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.states import RouteSetState
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import DefaultPolicy, Deployment, Rollout, Route, RouteSet
from celadon.table.core.replica_rules import is_open

_BOUND: Final = "max_total_replicas"


def _unended(*of: ColumnElement[bool]) -> ColumnElement[int]:
    return (
        select(func.count())
        .select_from(Route)
        .join(RouteSet, Route.set_id == RouteSet.id)
        .where(RouteSet.deployment == bindparam("deployment"), Route.ended_at.is_(None), *of)
        .scalar_subquery()
    )


_wanted: Final = (
    select(func.coalesce(func.sum(RouteSet.wanted), 0))
    .where(RouteSet.deployment == bindparam("deployment"), is_open)
    .scalar_subquery()
)
_CAPACITY: Final = select(_wanted, _unended(RouteSet.state == RouteSetState.DRAINING))
_BOUND_AND_UNENDED: Final = (
    select(
        case(
            (Rollout.id.is_not(None), Rollout.policy[_BOUND].as_integer()),
            (func.jsonb_exists(Deployment.policy, _BOUND), Deployment.policy[_BOUND].as_integer()),
            else_=DefaultPolicy.policy[_BOUND].as_integer(),
        ).label("bound"),
        _unended().label("unended"),
    )
    .select_from(Deployment)
    .outerjoin(Rollout, and_(Rollout.deployment == Deployment.name, Rollout.outcome.is_(None)))
    .outerjoin(DefaultPolicy, true())  # of which there is one at most
    .where(Deployment.name == bindparam("deployment"))
)


async def count_capacity(tx: AsyncSession, deployment: str) -> int:
    """Return how many replicas open sets want, and how many of draining ones have not ended."""
    wanted, draining = (await tx.execute(_CAPACITY, {"deployment": deployment})).one()
    return int(wanted) + int(draining)


async def has_room_for_one(tx: AsyncSession, lock: DeploymentLock) -> bool:
    """Return whether one more replica may be started: the bound is that of the rollout under way, or of the deployment.

    What counts here are the replicas that there are, those that leave an open set too.
    """
    row = (await tx.execute(_BOUND_AND_UNENDED, {"deployment": lock.name})).one()
    return row.bound is None or int(row.unended) < int(row.bound)
