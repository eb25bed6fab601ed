"""What gateways write down of routers: streams, acknowledgements, refusals, load."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Exists, Select, case, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Epoch, RouteId, RouteSetId
from celadon.table.core.listen import ACKS_CHANNEL, ALL_DEPLOYMENTS, notification
from celadon.table.core.models import Deployment, MemberLoad, Route, Router, RouterAck, RouterLoad, RouteSet
from celadon.table.core.router_rules import is_enrolled

_NAMED_AT_MOST = 20


class SetLoad(Record):
    """Running requests of one draining set at one router."""

    route_set: RouteSetId
    epoch: Epoch
    """The deployment's, when it was counted."""
    running: int
    zero_reports: int


class DepartureLoad(Record):
    """Running requests of one member that leaves its set at one router."""

    route: RouteId
    epoch: Epoch
    """Which of its departures."""
    running: int
    zero_reports: int


async def lock_for_news(
    tx: AsyncSession,
    routers: Iterable[str],
    deployments: Iterable[str] = (),
    route_sets: Iterable[RouteSetId] = (),
    routes: Iterable[RouteId] = (),
) -> None:
    """Lock what news of several routers touch, before the first of them is written.

    Whoever locks rows of several routers locks them here: routers before all else, then deployments, route sets and
    routes, each by name or number. So two writers wait for each other in one order and never in a circle.
    """
    await tx.execute(_in_order(Router.node, routers).with_for_update(key_share=True))
    referred: tuple[tuple[InstrumentedAttribute[Any], Sequence[object]], ...] = (
        (Deployment.name, list(deployments)),
        (RouteSet.id, list(route_sets)),
        (Route.id, list(routes)),
    )
    for column, keys in referred:
        if keys:
            # As their foreign keys lock them.
            await tx.execute(_in_order(column, keys).with_for_update(read=True, key_share=True))


def _in_order(column: InstrumentedAttribute[Any], keys: Iterable[object]) -> Select[Any]:
    return select(column).where(column.in_(list(keys))).order_by(column)


async def router_connected(
    tx: AsyncSession,
    node: str,
    gateway: str,
    ago: timedelta = timedelta(0),
    certificate_expires_at: datetime | None = None,
) -> datetime | None:
    """Write down that a router has opened a stream; a router that reconnects counts as live again.

    The database's clock says when, so that gateways whose clocks differ agree on which stream is the newest.

    Args:
        tx: the transaction.
        node: the router.
        gateway: which gateway it asks; of one gateway, what is written later is newer.
        ago: how long ago the stream began; one that is older than another gateway's changes nothing.
        certificate_expires_at: of the certificate that it showed; ``None`` on a Unix socket.

    Returns:
        Since when the table has the stream, by which its end is told later; ``None`` when it changed nothing.

    """
    at = func.clock_timestamp() - ago
    started_at: datetime | None = await tx.scalar(
        update(Router)
        .where(
            Router.node == node,
            is_enrolled,
            (Router.gateway == gateway) | (func.coalesce(Router.stream_started_at, at) <= at),
        )
        .values(
            gateway=gateway,
            stream_started_at=at,
            seen_at=func.clock_timestamp(),
            stream_ended_at=None,
            gone_at=None,
            # Of certificates that Celadon issues the newest one is known already, and the router may show an older.
            expires_at=case((Router.serial.is_(None), certificate_expires_at), else_=Router.expires_at),
        )
        .returning(Router.stream_started_at),
    )
    return started_at


async def router_disconnected(
    tx: AsyncSession,
    node: str,
    gateway: str,
    started_at: datetime,
    ago: timedelta = timedelta(0),
) -> None:
    """Write down that a stream has ended, unless a newer one has taken its place.

    That is no goodbye: an Envoy that is stopped in good order ends its stream like one whose network broke, which may
    well serve on. So the router stays live, and is waited for.

    Args:
        tx: the transaction.
        node: the router.
        gateway: which gateway had the stream.
        started_at: since when the table has the stream, as :func:`router_connected` has returned it.
        ago: how long ago it ended.

    """
    await tx.execute(
        update(Router)
        .where(Router.node == node, Router.gateway == gateway, Router.stream_started_at == started_at)
        .values(stream_ended_at=func.clock_timestamp() - ago),
    )


async def router_seen(tx: AsyncSession, nodes: Iterable[str]) -> None:
    """Write down that streams of these routers are up."""
    nodes = list(nodes)
    await lock_for_news(tx, nodes)
    await tx.execute(
        update(Router).where(Router.node.in_(nodes), is_enrolled).values(seen_at=func.clock_timestamp()),
    )


async def router_acknowledged(tx: AsyncSession, node: str, epochs: Mapping[str, Epoch]) -> None:
    """Write down the epochs that a router serves, and wake who waits for them; an older epoch changes nothing.

    A router that was treated as gone and acknowledges is not gone; one that was forgotten is not believed any more.
    """
    if not epochs:
        return
    believed = await tx.scalar(
        update(Router)
        .where(Router.node == node, is_enrolled)
        .values(
            acknowledged_at=func.coalesce(Router.acknowledged_at, func.clock_timestamp()),
            seen_at=func.clock_timestamp(),
            gone_at=None,
            nack="",
        )
        .returning(Router.node),
    )
    if believed is None:
        return
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
        update(Router).where(Router.node == node, is_enrolled).values(nack=message, seen_at=func.clock_timestamp()),
    )


async def record_load(tx: AsyncSession, node: str, loads: Sequence[SetLoad]) -> None:
    """Write down running requests per set; what was counted at an earlier epoch than what is known changes nothing."""
    route_sets = [load.route_set for load in loads]
    known = set(await tx.scalars(select(RouteSet.id).where(RouteSet.id.in_(route_sets), _believes(node))))
    found = [load for load in loads if load.route_set in known]
    await _record(tx, RouterLoad, "route_set", node, [(load.route_set, load) for load in found])


async def record_departures(tx: AsyncSession, node: str, loads: Sequence[DepartureLoad]) -> None:
    """Write down running requests of members that leave; what is said of an earlier departure changes nothing."""
    routes = [load.route for load in loads]
    known = set(await tx.scalars(select(Route.id).where(Route.id.in_(routes), _believes(node))))
    found = [load for load in loads if load.route in known]
    await _record(tx, MemberLoad, "route", node, [(load.route, load) for load in found])


def _believes(node: str) -> Exists:
    return exists().where(Router.node == node, is_enrolled)


async def _record(
    tx: AsyncSession,
    kept: type[RouterLoad | MemberLoad],
    drainee: str,
    node: str,
    loads: Sequence[tuple[RouteSetId | RouteId, SetLoad | DepartureLoad]],
) -> None:
    """Write what a router reports of what drains, in the table and the column that keep it."""
    if not loads:
        return
    statement = insert(kept).values(
        [
            {
                "router": node,
                drainee: key,
                "epoch": load.epoch,
                "running": load.running,
                "zero_reports": load.zero_reports,
                "reported_at": func.clock_timestamp(),
            }
            for key, load in loads
        ],
    )
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["router", drainee],
            set_={name: statement.excluded[name] for name in ("epoch", "running", "zero_reports", "reported_at")},
            where=kept.epoch <= statement.excluded.epoch,
        ),
    )
