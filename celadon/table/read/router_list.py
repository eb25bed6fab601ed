"""The routers as people look at them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import Epoch, RouterNode
from celadon.table.core.clock import database_now
from celadon.table.core.deployment_rules import is_destroyed
from celadon.table.core.labels import within
from celadon.table.core.models import Deployment, Router, RouterAck
from celadon.table.core.paging import LONGEST_PAGE
from celadon.table.core.router_rules import is_live
from celadon.table.read.listing import paged
from celadon.table.records.routers import BehindLine, RouterLine
from celadon.table.routers.router_state import state_of, stream_is_up

MOST_BEHIND: Final = 100
"""How many deployments that it is behind with are told of each router in the list."""


class FoundRouters(NamedTuple):
    """Routers at a moment."""

    at: datetime
    """The moment, by the database's clock."""
    routers: tuple[RouterLine, ...]
    """By name."""


async def list_routers(
    tx: AsyncSession,
    scope: Mapping[str, str] | None = None,
    *,
    after: str | None = None,
    limit: int = LONGEST_PAGE,
    most_behind: int = MOST_BEHIND,
) -> FoundRouters:
    """Return a page of the routers that the table knows: by name, those after ``after``.

    Args:
        tx: the transaction.
        scope: labels of the deployments of which it is told what a router is behind with; all when not given.
        after: the name of the last router of the page before.
        limit: how many at most.
        most_behind: how many deployments that it is behind with are told of each.

    """
    now = await database_now(tx)
    query = select(Router).execution_options(populate_existing=True)
    page = (await tx.scalars(paged(query, Router.node, past=after, limit=limit))).all()
    nodes = [row.node for row in page] if most_behind else []
    behind = await behind_of(tx, nodes, scope or {}, after=None, limit=most_behind + 1)
    return FoundRouters(now, tuple(_line(row, behind[row.node], now, most_behind) for row in page))


async def behind_of(
    tx: AsyncSession,
    routers: Collection[str],
    scope: Mapping[str, str],
    *,
    after: str | None,
    limit: int,
) -> defaultdict[str, list[BehindLine]]:
    """Return what each live router is behind with, by the deployments' names, those after ``after``."""
    there = (
        select(Deployment.name, Deployment.epoch, RouterAck.epoch.label("serves"))
        .outerjoin(RouterAck, (RouterAck.router == Router.node) & (RouterAck.deployment == Deployment.name))
        .where(
            Deployment.epoch > 0,
            ~is_destroyed,
            func.coalesce(RouterAck.epoch, -1) < Deployment.epoch,
        )
    )
    if scope:
        there = there.where(within(scope))
    page = paged(there, Deployment.name, past=after, limit=limit).lateral()
    rows = await tx.execute(
        select(Router.node, *page.c)
        .join(page, true())
        .where(Router.node.in_(routers), is_live)
        .order_by(Router.node, page.c.name),
    )
    lines: defaultdict[str, list[BehindLine]] = defaultdict(list)
    for row in rows:
        line = BehindLine(
            deployment=row.name,
            epoch=Epoch(row.epoch),
            serves=None if row.serves is None else Epoch(row.serves),
        )
        lines[row.node].append(line)
    return lines


def _line(row: Router, behind: Sequence[BehindLine], now: datetime, most_behind: int) -> RouterLine:
    return RouterLine(
        router=RouterNode(row.node),
        state=state_of(row, now),
        gateway=row.gateway,
        stream_is_up=stream_is_up(row, now),
        stream_started_at=row.stream_started_at,
        seen_at=row.seen_at,
        acknowledged_at=row.acknowledged_at,
        gone_at=row.gone_at,
        enrolled_at=row.enrolled_at,
        identity=row.identity,
        certificate_expires_at=row.expires_at,
        nack=row.nack,
        behind=tuple(behind[:most_behind]),
        behind_more=len(behind) > most_behind,
    )
