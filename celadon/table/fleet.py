"""The routers as people look at them, and forgetting one that is gone for good."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.contracts import ROUTER_LEASE
from celadon.domain.errors import RefusalCode, refuse
from celadon.domain.moments import span
from celadon.domain.names import Epoch, RouterNode
from celadon.domain.states import DeploymentLifecycle
from celadon.table.clock import database_now
from celadon.table.enrolments import end_enrolment
from celadon.table.models import Deployment, RolloutEvent, Router, RouterAck
from celadon.table.notify import ACKS_CHANNEL, notification
from celadon.table.records.changes import Forgotten
from celadon.table.records.routers import BehindLine, Fleet, RouterLine, RouterState
from celadon.table.registration import Author
from celadon.table.routers import ALL_DEPLOYMENTS

STREAM_IS_DOWN_AFTER: Final = timedelta(seconds=10)
"""A gateway writes every 3 s that a stream is up; one that was killed cannot write that it is down."""

ROUTER_FORGOTTEN: Final = "router_forgotten"


async def list_routers(tx: AsyncSession) -> Fleet:
    """Return every router that the table knows, by name."""
    now = await database_now(tx)
    behind = await _find_behind(tx)
    rows = await tx.scalars(select(Router).order_by(Router.node).execution_options(populate_existing=True))
    return Fleet(at=now, routers=tuple(_line(row, behind.get(row.node, ()), now) for row in rows))


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
    was = _state(row, now)
    # What it served was told already when it was forgotten before.
    is_told = row.gone_at is not None
    if row.gone_at is not None and row.enrolled_at is None:
        return Forgotten(router=RouterNode(node), was=was, deployments=())
    if row.seen_at is not None and _stream_is_up(row, now) and not force:
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
    )
    names = await tx.scalars(
        insert(RolloutEvent)
        .from_select(["deployment", "kind", "actor", "issuer", "door", "verified", "reason", "evidence"], served)
        .returning(RolloutEvent.deployment),
    )
    return tuple(sorted(names))


async def _find_behind(tx: AsyncSession) -> dict[str, tuple[BehindLine, ...]]:
    rows = await tx.execute(
        select(Router.node, Deployment.name, Deployment.epoch, RouterAck.epoch.label("serves"))
        .select_from(Router)
        .join(Deployment, (Deployment.epoch > 0) & (Deployment.lifecycle != DeploymentLifecycle.DESTROYED))
        .outerjoin(RouterAck, (RouterAck.router == Router.node) & (RouterAck.deployment == Deployment.name))
        .where(func.coalesce(RouterAck.epoch, -1) < Deployment.epoch)
        .order_by(Router.node, Deployment.name),
    )
    found: dict[str, tuple[BehindLine, ...]] = {}
    for row in rows:
        line = BehindLine(
            deployment=row.name,
            epoch=Epoch(row.epoch),
            serves=None if row.serves is None else Epoch(row.serves),
        )
        found[row.node] = (*found.get(row.node, ()), line)
    return found


def _line(row: Router, behind: tuple[BehindLine, ...], now: datetime) -> RouterLine:
    state = _state(row, now)
    return RouterLine(
        router=RouterNode(row.node),
        state=state,
        gateway=row.gateway,
        stream_is_up=_stream_is_up(row, now),
        stream_started_at=row.stream_started_at,
        seen_at=row.seen_at,
        acknowledged_at=row.acknowledged_at,
        gone_at=row.gone_at,
        enrolled_at=row.enrolled_at,
        identity=row.identity,
        certificate_expires_at=row.expires_at,
        nack=row.nack,
        behind=behind if state in {RouterState.LIVE, RouterState.CUT_OFF} else (),
    )


def _state(row: Router, now: datetime) -> RouterState:
    if row.gone_at is not None:
        return RouterState.GONE if row.enrolled_at is None else RouterState.ENROLLED
    if row.seen_at is None:
        return RouterState.ENROLLED
    if row.seen_at <= now - ROUTER_LEASE:
        return RouterState.GONE
    if row.acknowledged_at is None:
        return RouterState.NEW
    return RouterState.LIVE if _stream_is_up(row, now) else RouterState.CUT_OFF


def _stream_is_up(row: Router, now: datetime) -> bool:
    return row.stream_ended_at is None and row.seen_at is not None and row.seen_at > now - STREAM_IS_DOWN_AFTER
