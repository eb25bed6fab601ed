"""What gateways write down of routers: streams, acknowledgements, refusals, load."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ARRAY, BigInteger, Integer, Select, Text, bindparam, case, exists, func, select, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Epoch, RouteId, RouteSetId
from celadon.table.core.listen import ACKS_CHANNEL, ALL_DEPLOYMENTS
from celadon.table.core.models import Deployment, MemberLoad, Route, Router, RouterAck, RouterLoad, RouteSet
from celadon.table.core.router_rules import is_enrolled

_NAMED_AT_MOST = 20

_acks = RouterAck.metadata.tables[RouterAck.__tablename__]
"""The table and not the class: sessions need not know these rows."""


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
    *,
    takes_limits: bool = True,
) -> datetime | None:
    """Write down that a router has opened a stream; a router that reconnects counts as live again.

    The database's clock says when, so that gateways whose clocks differ agree on which stream is the newest.

    Args:
        tx: the transaction.
        node: the router.
        gateway: which gateway it asks; of one gateway, what is written later is newer.
        ago: how long ago the stream began; one that is older than another gateway's changes nothing.
        certificate_expires_at: of the certificate that it showed; ``None`` on a Unix socket.
        takes_limits: whether it asked for the limits of requests that deployments have.

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
            takes_limits=takes_limits,
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


_BELIEVED: Final = (
    update(Router)
    .where(Router.node == bindparam("of"), is_enrolled)
    .values(
        acknowledged_at=func.coalesce(Router.acknowledged_at, func.clock_timestamp()),
        seen_at=func.clock_timestamp(),
        gone_at=None,
        nack="",
    )
    .returning(Router.node)
    .execution_options(synchronize_session=False)
)
_told = (
    func.unnest(bindparam("names", type_=ARRAY(Text)), bindparam("epochs", type_=ARRAY(BigInteger)))
    .table_valued("deployment", "epoch")
    .render_derived("told")
)
_known = select(Deployment.name, _told.c.epoch).join(_told, _told.c.deployment == Deployment.name).cte("known")
_acknowledged = insert(_acks).from_select(
    ["router", "deployment", "epoch", "at"],
    select(bindparam("of", type_=Text), _known.c.name, _known.c.epoch, func.clock_timestamp()).order_by(_known.c.name),
)
_written = (
    _acknowledged.on_conflict_do_update(
        index_elements=["router", "deployment"],
        set_={"epoch": _acknowledged.excluded.epoch, "at": _acknowledged.excluded.at},
        where=_acks.c.epoch < _acknowledged.excluded.epoch,
    )
    .returning(_acks.c.deployment)
    .cte("written")
)
_ACKNOWLEDGED: Final = select(_known.c.name).add_cte(_written).order_by(_known.c.name)
"""Writes epochs of deployments that there are, however many, and gives their names."""

_NOTIFIED: Final = select(func.pg_notify(ACKS_CHANNEL, bindparam("payload", type_=Text)))


async def router_acknowledged(tx: AsyncSession, node: str, epochs: Mapping[str, Epoch]) -> None:
    """Write down the epochs that a router serves, and wake who waits for them; an older epoch changes nothing.

    A router that was treated as gone and acknowledges is not gone; one that was forgotten is not believed any more.
    """
    if not epochs:
        return
    if await tx.scalar(_BELIEVED, {"of": node}) is None:
        return
    names = sorted(epochs)
    parameters = {"of": node, "names": names, "epochs": [epochs[name] for name in names]}
    known = (await tx.scalars(_ACKNOWLEDGED, parameters)).all()
    for name in [ALL_DEPLOYMENTS] if len(known) > _NAMED_AT_MOST else known:
        await tx.execute(_NOTIFIED, {"payload": json.dumps({"deployment": name, "router": node})})


async def router_refused(tx: AsyncSession, node: str, message: str) -> None:
    """Write down that a router refused a configuration (NACK), which counts as silence and is shown."""
    await tx.execute(
        update(Router).where(Router.node == node, is_enrolled).values(nack=message, seen_at=func.clock_timestamp()),
    )


def _recording(kept: type[RouterLoad | MemberLoad], drainee: InstrumentedAttribute[Any], column: str) -> Insert:
    """Return the statement that writes what a router reports of what drains, however much, and of nothing else."""
    table = kept.metadata.tables[kept.__tablename__]
    counted = ("epoch", "running", "zero_reports")
    loads = (
        func.unnest(
            bindparam("drainees", type_=ARRAY(drainee.type)),
            bindparam("epochs", type_=ARRAY(BigInteger)),
            *(bindparam(name, type_=ARRAY(Integer)) for name in counted[1:]),
        )
        .table_valued("drainee", *counted)
        .render_derived("loads")
    )
    rows = (
        select(bindparam("of", type_=Text), drainee, *(loads.c[name] for name in counted), func.clock_timestamp())
        .join(loads, loads.c.drainee == drainee)
        .where(exists().where(Router.node == bindparam("of", type_=Text), is_enrolled))
        .order_by(drainee)
    )
    statement = insert(table).from_select(["router", column, *counted, "reported_at"], rows)
    return statement.on_conflict_do_update(
        index_elements=["router", column],
        set_={name: statement.excluded[name] for name in (*counted, "reported_at")},
        where=table.c.epoch <= statement.excluded.epoch,
    )


_SET_LOADS: Final = _recording(RouterLoad, RouteSet.id, "route_set")
_DEPARTURE_LOADS: Final = _recording(MemberLoad, Route.id, "route")


async def record_load(tx: AsyncSession, node: str, loads: Sequence[SetLoad]) -> None:
    """Write down running requests per set; what was counted at an earlier epoch than what is known changes nothing."""
    await _record(tx, _SET_LOADS, node, [load.route_set for load in loads], loads)


async def record_departures(tx: AsyncSession, node: str, loads: Sequence[DepartureLoad]) -> None:
    """Write down running requests of members that leave; what is said of an earlier departure changes nothing."""
    await _record(tx, _DEPARTURE_LOADS, node, [load.route for load in loads], loads)


async def _record(
    tx: AsyncSession,
    statement: Insert,
    node: str,
    drainees: Sequence[RouteSetId] | Sequence[RouteId],
    loads: Sequence[SetLoad] | Sequence[DepartureLoad],
) -> None:
    if not loads:
        return
    parameters = {
        "of": node,
        "drainees": list(drainees),
        "epochs": [load.epoch for load in loads],
        "running": [load.running for load in loads],
        "zero_reports": [load.zero_reports for load in loads],
    }
    await tx.execute(statement, parameters)
