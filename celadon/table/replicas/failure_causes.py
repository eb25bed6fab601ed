"""What the replicas of a set have failed with, as its rollout and people are told."""

from datetime import timedelta
from typing import Final

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.failure_cause import ReplicaFailure, describe_failures
from celadon.domain.language.states import RouteHealthStatus
from celadon.table.core.models import Rollout, Route, RouteSet

_MOST_FAILURES: Final = 100

_LIVE_SET_FORGETS_AFTER: Final = timedelta(minutes=10)
"""A set that was switched to lives for months: what ended long ago says nothing of what is wrong now."""


_is_sick = Route.ended_at.is_(None) & Route.health.in_([RouteHealthStatus.UNHEALTHY, RouteHealthStatus.DEGRADED])
_was_never_live = select(Rollout.switch_epoch).where(Rollout.id == bindparam("rollout")).scalar_subquery().is_(None)
_has_ended = Route.ended_at.is_not(None) & (
    _was_never_live | (Route.ended_at > func.clock_timestamp() - _LIVE_SET_FORGETS_AFTER)
)
_failures: Final = (
    select(Route.last_error, Route.output)
    .where(Route.set_id == bindparam("set"), Route.last_error != "", _is_sick | _has_ended)
    .order_by(func.coalesce(Route.ended_at, func.clock_timestamp()).desc(), Route.id)
    .limit(_MOST_FAILURES)
)


async def read_failure_causes(tx: AsyncSession, row: RouteSet) -> str:
    """Return the causes of a set's failures in one text: of replicas that are sick, and of those that have ended so."""
    rows = await tx.execute(_failures, {"set": row.id, "rollout": row.rollout})
    return describe_failures(ReplicaFailure(error=one.last_error, output=one.output) for one in rows)
