"""What the replicas of a set have failed with, as its rollout and people are told."""

from datetime import timedelta
from typing import Final

from sqlalchemy import func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.failure_cause import ReplicaFailure, describe_failures
from celadon.domain.language.states import RouteHealthStatus
from celadon.table.core.models import Rollout, Route, RouteSet

_MOST_FAILURES: Final = 100

_LIVE_SET_FORGETS_AFTER: Final = timedelta(minutes=10)
"""A set that was switched to lives for months: what ended long ago says nothing of what is wrong now."""


async def read_failure_causes(tx: AsyncSession, row: RouteSet) -> str:
    """Return the causes of a set's failures in one text: of replicas that are sick, and of those that have ended so."""
    sick = Route.ended_at.is_(None) & Route.health.in_([RouteHealthStatus.UNHEALTHY, RouteHealthStatus.DEGRADED])
    was_live = await tx.scalar(select(Rollout.switch_epoch).where(Rollout.id == row.rollout)) is not None
    counts = (Route.ended_at > func.clock_timestamp() - _LIVE_SET_FORGETS_AFTER) if was_live else true()
    ended = Route.ended_at.is_not(None) & counts
    rows = await tx.execute(
        select(Route.last_error, Route.output)
        .where(Route.set_id == row.id, Route.last_error != "", sick | ended)
        .order_by(func.coalesce(Route.ended_at, func.clock_timestamp()).desc(), Route.id)
        .limit(_MOST_FAILURES),
    )
    return describe_failures(ReplicaFailure(error=one.last_error, output=one.output) for one in rows)
