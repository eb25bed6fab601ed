"""What routers send to a blue that bakes, because no replica of green could take it."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import RouteSetId
from celadon.table.core.models import Failover, Rollout, Router, RouteSet
from celadon.table.core.router_rules import is_enrolled
from celadon.table.rollouts.audit import write_event

FAILOVER: Final = "failover"


async def record_failovers(tx: AsyncSession, node: str, gateway: str, sent: Mapping[RouteSetId, int]) -> None:
    """Add requests that a router has sent to fallbacks; the first of them are told in the audit log.

    A router that was forgotten is not believed, and a set that is no more has nothing.

    Args:
        tx: the transaction.
        node: the router.
        gateway: which gateway was told.
        sent: how many requests, by set.

    """
    now = func.clock_timestamp()
    for route_set, requests in sorted(sent.items()):
        row = (
            await tx.execute(
                select(
                    RouteSet.deployment,
                    select(Rollout.id)
                    .where(Rollout.blue_set == RouteSet.id, Rollout.outcome.is_(None))
                    .scalar_subquery()
                    .label("rollout"),
                    exists().where(Failover.router == node, Failover.route_set == RouteSet.id).label("is_known"),
                ).where(RouteSet.id == route_set, exists().where(Router.node == node, is_enrolled)),
            )
        ).one_or_none()
        if row is None:
            continue
        statement = insert(Failover).values(
            router=node, route_set=route_set, requests=requests, began_at=now, reported_at=now
        )
        await tx.execute(
            statement.on_conflict_do_update(
                index_elements=["router", "route_set"],
                set_={"requests": Failover.requests + statement.excluded.requests, "reported_at": now},
            )
        )
        if not row.is_known:
            await write_event(
                tx,
                row.deployment,
                row.rollout,
                FAILOVER,
                actor="gateway",
                reason="no replica of green could take requests, so that blue took them",
                evidence={"router": node, "route_set": str(route_set), "gateway": gateway},
            )
