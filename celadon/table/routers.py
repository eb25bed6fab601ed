"""What gateways write down of routers: streams, acknowledgements, refusals, load."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.names import Epoch, RouteSetId
from celadon.domain.strictness import Record
from celadon.table.models import Deployment, Router, RouterAck, RouterLoad, RouteSet
from celadon.table.notify import ACKS_CHANNEL, notification

ALL_DEPLOYMENTS: Final = "*"
"""The payload of an acknowledgement of many deployments at once."""

_NAMED_AT_MOST = 20


class SetLoad(Record):
    """Running requests of one draining set at one router."""

    route_set: RouteSetId
    running: int
    zero_reports: int


async def router_connected(tx: AsyncSession, node: str, gateway: str, at: datetime) -> None:
    """Write down that a router has opened a stream; a router that was gone is one again."""
    await tx.execute(
        insert(Router)
        .values(node=node, gateway=gateway, stream_started_at=at, seen_at=func.clock_timestamp())
        .on_conflict_do_update(
            index_elements=["node"],
            set_={
                "gateway": gateway,
                "stream_started_at": at,
                "seen_at": func.clock_timestamp(),
                "gone_at": None,
            },
            where=Router.stream_started_at <= at,
        ),
    )


async def router_seen(tx: AsyncSession, nodes: Iterable[str]) -> None:
    """Write down that streams of these routers are up."""
    await tx.execute(update(Router).where(Router.node.in_(list(nodes))).values(seen_at=func.clock_timestamp()))


async def router_acknowledged(tx: AsyncSession, node: str, epochs: Mapping[str, Epoch]) -> None:
    """Write down the epochs that a router serves, and wake who waits for them; an older epoch changes nothing.

    A router that was held for gone and acknowledges is not gone.
    """
    if not epochs:
        return
    await tx.execute(
        update(Router)
        .where(Router.node == node)
        .values(
            acknowledged_at=func.coalesce(Router.acknowledged_at, func.clock_timestamp()),
            seen_at=func.clock_timestamp(),
            gone_at=None,
            nack="",
        ),
    )
    known = set(await tx.scalars(select(Deployment.name).where(Deployment.name.in_(list(epochs)))))
    rows = [
        {"router": node, "deployment": name, "epoch": epoch, "at": func.clock_timestamp()}
        for name, epoch in sorted(epochs.items())
        if name in known
    ]
    if not rows:
        return
    statement = insert(RouterAck)
    statement = statement.on_conflict_do_update(
        index_elements=["router", "deployment"],
        set_={"epoch": statement.excluded.epoch, "at": statement.excluded.at},
        where=RouterAck.epoch < statement.excluded.epoch,
    )
    for start in range(0, len(rows), 1000):
        await tx.execute(statement.values(rows[start : start + 1000]))
    payloads = [ALL_DEPLOYMENTS] if len(rows) > _NAMED_AT_MOST else [str(row["deployment"]) for row in rows]
    for payload in payloads:
        await tx.execute(notification(ACKS_CHANNEL, json.dumps({"deployment": payload, "router": node})))


async def router_refused(tx: AsyncSession, node: str, message: str) -> None:
    """Write down that a router refused a configuration (NACK), which counts as silence and is shown."""
    await tx.execute(
        update(Router).where(Router.node == node).values(nack=message, seen_at=func.clock_timestamp()),
    )


async def record_load(tx: AsyncSession, node: str, loads: Sequence[SetLoad]) -> None:
    """Write down running requests per set, replacing what this router reported before."""
    known = set(await tx.scalars(select(RouteSet.id).where(RouteSet.id.in_([load.route_set for load in loads]))))
    rows = [
        {
            "router": node,
            "route_set": load.route_set,
            "running": load.running,
            "zero_reports": load.zero_reports,
            "reported_at": func.clock_timestamp(),
        }
        for load in loads
        if load.route_set in known
    ]
    if not rows:
        return
    statement = insert(RouterLoad).values(rows)
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["router", "route_set"],
            set_={
                "running": statement.excluded.running,
                "zero_reports": statement.excluded.zero_reports,
                "reported_at": statement.excluded.reported_at,
            },
        ),
    )
