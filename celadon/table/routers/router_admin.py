"""Forgetting a router that is gone for good."""

import json
from collections.abc import Mapping
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.moments import span
from celadon.domain.language.names import RouterNode
from celadon.table.core.author import Author
from celadon.table.core.clock import database_now
from celadon.table.core.deployment_rules import is_destroyed
from celadon.table.core.listen import ACKS_CHANNEL, ALL_DEPLOYMENTS, notification
from celadon.table.core.models import Deployment, RolloutEvent, Router, RouterAck
from celadon.table.records.changes import Forgotten
from celadon.table.rollouts.audit import selected_line
from celadon.table.routers.enrolments import end_enrolment
from celadon.table.routers.router_state import state_of, stream_is_up

ROUTER_FORGOTTEN: Final = "router_forgotten"


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
    deployments = () if is_told else await _tell(tx, author, {"router": node, **evidence})
    await tx.execute(notification(ACKS_CHANNEL, json.dumps({"deployment": ALL_DEPLOYMENTS, "router": node})))
    return Forgotten(router=RouterNode(node), was=was, deployments=deployments)


async def _tell(tx: AsyncSession, author: Author, evidence: Mapping[str, str]) -> tuple[str, ...]:
    """Write a line into the audit log of each deployment that the router in ``evidence`` has served."""
    line = {"deployment": Deployment.name, **selected_line(ROUTER_FORGOTTEN, author, evidence)}
    served = (
        select(*line.values())
        .join(RouterAck, RouterAck.deployment == Deployment.name)
        .where(RouterAck.router == evidence["router"], ~is_destroyed)
        # Each line locks its deployment, in the order in which other writers lock them.
        .order_by(Deployment.name)
    )
    names = await tx.scalars(
        insert(RolloutEvent).from_select([*line], served).returning(RolloutEvent.deployment),
    )
    return tuple(sorted(names))
