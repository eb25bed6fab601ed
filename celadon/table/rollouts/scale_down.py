"""Members that leave an open set: who counts, and who is taken back.

A member leaves from ``leaving_epoch`` on. The epoch names this one departure: what routers report of it counts for no
later one, so a member can be taken back and told to leave again at any time.
"""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.scaling import SetMember, who_returns
from celadon.domain.language.names import RouteId
from celadon.domain.language.states import RouteSetState
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import Route, RouteSet


async def read_members(tx: AsyncSession, _lock: DeploymentLock, route_set: int) -> list[SetMember]:
    """Return the replicas of a set that have not ended, oldest first."""
    rows = await tx.execute(
        select(Route.id, Route.status, Route.health, Route.leaving_epoch)
        .where(Route.set_id == route_set, Route.ended_at.is_(None))
        .order_by(Route.created_at, Route.id),
    )
    return [
        SetMember(route=RouteId(row.id), status=row.status, health=row.health, leaves=row.leaving_epoch is not None)
        for row in rows
    ]


async def cancel_scale_down(tx: AsyncSession, lock: DeploymentLock, row: RouteSet) -> frozenset[RouteId]:
    """Take leaving members back into an open set that has fewer than it wants; return those.

    It stands in every transaction after which a set can have fewer, so that no router ever hears of a live set whose
    members all leave although it wants some. The caller raises the epoch.
    """
    await tx.flush()
    if row.state is not RouteSetState.OPEN:
        return frozenset()
    returning = who_returns(await read_members(tx, lock, row.id), row.wanted)
    if returning:
        await tx.execute(
            update(Route)
            .where(Route.id.in_(returning))
            .values(leaving_epoch=None, leaving_deadline=None)
            .execution_options(synchronize_session=False),
        )
    return frozenset(returning)
