"""The routers as people look at them, and forgetting one that is gone for good."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import func, literal, select, true, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.errors import RefusalCode, refuse
from celadon.domain.moments import span
from celadon.domain.names import Epoch, RouterNode
from celadon.domain.states import DeploymentLifecycle
from celadon.table.acknowledgements import is_live
from celadon.table.clock import database_now
from celadon.table.enrolments import end_enrolment
from celadon.table.labels import within
from celadon.table.models import Deployment, RolloutEvent, Router, RouterAck
from celadon.table.notify import ACKS_CHANNEL, notification
from celadon.table.paging import LONGEST_PAGE
from celadon.table.records.changes import Forgotten
from celadon.table.records.routers import BehindLine, Fleet, RouterLine
from celadon.table.registration import Author
from celadon.table.router_state import state_of, stream_is_up
from celadon.table.routers import ALL_DEPLOYMENTS

MOST_BEHIND: Final = 100
"""How many deployments that it is behind with are told of each router in the list."""

ROUTER_FORGOTTEN: Final = "router_forgotten"


async def list_routers(
    tx: AsyncSession,
    scope: Mapping[str, str] | None = None,
    *,
    after: str | None = None,
    limit: int = LONGEST_PAGE,
    most_behind: int = MOST_BEHIND,
) -> Fleet:
    """Return a page of the routers that the table knows: by name, those after ``after``.

    Args:
        tx: the transaction.
        scope: labels of the deployments of which it is told what a router is behind with; all when not given.
        after: the name of the last router of the page before.
        limit: how many at most.
        most_behind: how many deployments that it is behind with are told of each.

    """
    now = await database_now(tx)
    query = select(Router).order_by(Router.node).limit(limit + 1).execution_options(populate_existing=True)
    found = (await tx.scalars(query if after is None else query.where(Router.node > after))).all()
    page = found[:limit]
    nodes = [row.node for row in page] if most_behind else []
    behind = await behind_of(tx, nodes, scope or {}, after=None, limit=most_behind + 1)
    return Fleet(
        at=now,
        routers=tuple(_line(row, behind[row.node], now, most_behind) for row in page),
        next_after=RouterNode(page[-1].node) if len(found) > limit else None,
    )


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
            Deployment.lifecycle != DeploymentLifecycle.DESTROYED,
            func.coalesce(RouterAck.epoch, -1) < Deployment.epoch,
        )
        .order_by(Deployment.name)
        .limit(limit)
    )
    if scope:
        there = there.where(within(scope))
    if after is not None:
        there = there.where(Deployment.name > after)
    page = there.lateral()
    rows = await tx.execute(
        select(Router.node, *page.c)
        .join(page, true())
        .where(Router.node.in_(routers), is_live)
        .order_by(Router.node, page.c.name),
    )
    found: defaultdict[str, list[BehindLine]] = defaultdict(list)
    for row in rows:
        line = BehindLine(
            deployment=row.name,
            epoch=Epoch(row.epoch),
            serves=None if row.serves is None else Epoch(row.serves),
        )
        found[row.node].append(line)
    return found


async def forget_router(tx: AsyncSession, node: str, *, author: Author, force: bool) -> Forgotten:
    """Treat a router as gone, wake whoever waits for it, and end its enrolment: no gateway believes it any more.

    It is a router again once it was enrolled again. Idempotent.

    Args:
        tx: the transaction.
        node: the router's name.
        author: who says so, through which door and why.
        force: also when its stream is up.

    Raises:
        RefusedError: there is no such router, or its stream is up.

    """
    row = await tx.scalar(
        select(Router).where(Router.node == node).with_for_update().execution_options(populate_existing=True),
    )
    if row is None:
        names = (await tx.scalars(select(Router.node).order_by(Router.node))).all()
        raise refuse(
            RefusalCode.NO_SUCH_ROUTER,
            f"there is no router {node}",
            f"there are: {', '.join(names)}" if names else "none was ever enrolled",
        )
    now = await database_now(tx)
    was = state_of(row, now)
    # What it served was told already when it was forgotten before.
    is_told = row.gone_at is not None
    if row.gone_at is not None and row.enrolled_at is None:
        return Forgotten(router=RouterNode(node), was=was, deployments=())
    if row.seen_at is not None and stream_is_up(row, now) and not force:
        raise refuse(
            RefusalCode.ROUTER_CONNECTED,
            f"router {node} is connected to gateway {row.gateway}, seen {span(now - row.seen_at)} ago",
            "stop it first. If it hangs, or refuses what it is told, and serves nobody any more, say so with --force: "
            "then nobody waits for it, and blue may be stopped under requests that it still sends there",
        )
    await tx.execute(
        update(Router).where(Router.node == node).values(gone_at=func.coalesce(Router.gone_at, func.clock_timestamp())),
    )
    evidence = {"was": was.value, **({"forced": "true"} if force else {})}
    await end_enrolment(tx, node, author, evidence)
    told = () if is_told else await _tell(tx, author, {"router": node, **evidence})
    await tx.execute(notification(ACKS_CHANNEL, json.dumps({"deployment": ALL_DEPLOYMENTS, "router": node})))
    return Forgotten(router=RouterNode(node), was=was, deployments=told)


async def _tell(tx: AsyncSession, author: Author, evidence: Mapping[str, str]) -> tuple[str, ...]:
    """Write a line into the audit log of each deployment that the router in ``evidence`` has served."""
    served = (
        select(
            Deployment.name,
            literal(ROUTER_FORGOTTEN),
            literal(author.by),
            literal(author.issuer),
            literal(author.door.value),
            literal(author.verified),
            literal(author.reason),
            literal(dict(evidence), JSONB),
        )
        .join(RouterAck, RouterAck.deployment == Deployment.name)
        .where(RouterAck.router == evidence["router"], Deployment.lifecycle != DeploymentLifecycle.DESTROYED)
        # Each line locks its deployment, in the order in which other writers lock them.
        .order_by(Deployment.name)
    )
    names = await tx.scalars(
        insert(RolloutEvent)
        .from_select(["deployment", "kind", "actor", "issuer", "door", "verified", "reason", "evidence"], served)
        .returning(RolloutEvent.deployment),
    )
    return tuple(sorted(names))


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
