"""What routers say, on its way into the table.

News of all routers is collected and written by one task in one transaction, so a thousand acknowledgements at a
router's start cost one, and an acknowledgement alone is written at once. While Postgres is away the newest state of
each router is kept and written when it is back. News that the table refuses for what they say are written apart from
all others, and dropped when they are refused once more: no router keeps back what another one says.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import DeploymentName, Epoch, RouteId, RouterNode, RouteSetId
from celadon.gateway.load_reports import Drainee, DrainLoad, Leaver
from celadon.gateway.metrics import GatewayMetrics
from celadon.table.core.engine import Table
from celadon.table.core.outages import blames_record, describe
from celadon.table.routers.failovers import record_failovers
from celadon.table.routers.reports import (
    DepartureLoad,
    SetLoad,
    lock_for_news,
    record_departures,
    record_load,
    router_acknowledged,
    router_connected,
    router_disconnected,
    router_refused,
    router_seen,
)

SEEN_SECONDS: Final = 3.0
"""How often it is written that a router's stream is up."""

MOST_RUNNING: Final = 2**31 - 1
"""More running requests than a row holds are as many as it holds; routers count with 64 bits."""

RETRY_SECONDS: Final = 0.2
MAX_RETRY_SECONDS: Final = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Ended:
    """When a stream began and when it ended, by this process's own clock."""

    connected_at: float
    at: float


@dataclass(slots=True)
class _News:
    """What is to be written of one router. Moments are of a clock that nobody sets, and told as ages."""

    connected_at: float | None = None
    certificate_expires_at: datetime | None = None
    """Of the certificate with which it connected."""
    takes_limits: bool = True
    """Whether it asked for limits of requests when it connected."""
    ended: "_Ended | None" = None
    """The end of its newest stream, if that has ended."""
    epochs: dict[DeploymentName, Epoch] = field(default_factory=dict)
    refusal: str | None = None
    """What it refuses now; empty when it accepts all again, ``None`` when nothing changed."""
    loads: dict[Drainee, tuple[DrainLoad, Epoch]] = field(default_factory=dict)
    failovers: Counter[RouteSetId] = field(default_factory=Counter)
    """Requests that it has sent to fallbacks since what is written."""

    def after(self, older: "_News") -> "_News":
        """Return these news on top of older ones that could not be written."""
        return _News(
            connected_at=self.connected_at or older.connected_at,
            certificate_expires_at=(self if self.connected_at else older).certificate_expires_at,
            takes_limits=(self if self.connected_at else older).takes_limits,
            ended=self.ended or (older.ended if self.connected_at is None else None),
            epochs={**older.epochs, **self.epochs},
            refusal=older.refusal if self.refusal is None else self.refusal,
            loads={**older.loads, **self.loads},
            failovers=older.failovers + self.failovers,
        )

    def apart(self) -> "list[_News]":
        """Return the same news one by one, in the order in which they are written."""
        stream = _News(self.connected_at, self.certificate_expires_at, self.takes_limits, self.ended)
        apart = [stream] if stream != _News() else []
        if self.epochs:
            apart.append(_News(epochs=self.epochs))
        if self.refusal is not None:
            apart.append(_News(refusal=self.refusal))
        apart += [_News(loads={drainee: load}) for drainee, load in self.loads.items()]
        return [*apart, *(_News(failovers=Counter({route_set: sent})) for route_set, sent in self.failovers.items())]


@dataclass(frozen=True, slots=True)
class _Stream:
    """A stream as the table has it."""

    connected_at: float
    started_at: datetime
    """By the database's clock."""


class TableJournal:
    """Writes what routers say into the table; ``gateway`` names this process there."""

    def __init__(
        self, table: Table, gateway: str, metrics: GatewayMetrics, longest_retry_seconds: float = MAX_RETRY_SECONDS
    ) -> None:
        """Begin with nothing heard."""
        self._longest_retry = longest_retry_seconds
        self._table = table
        self._gateway = gateway
        self._metrics = metrics
        self._news: dict[RouterNode, _News] = {}
        self._refusals: dict[RouterNode, str] = {}
        self._connected: dict[RouterNode, float] = {}
        self._written: dict[RouterNode, _Stream] = {}
        """The newest stream of each router that is in the table."""
        self._wake = asyncio.Event()
        self._trouble = metrics.trouble("news of routers", "router_news_not_written")
        self._seeing = metrics.trouble("streams that are up", "routers_not_marked_seen")

    def connected(
        self, node: RouterNode, certificate_expires_at: datetime | None, *, takes_limits: bool = True
    ) -> None:
        """Note that a router opened its stream."""
        now = self._connected[node] = monotonic()
        self._refusals.pop(node, None)
        news = self._of(node)
        news.connected_at, news.ended, news.refusal = now, None, ""
        news.certificate_expires_at, news.takes_limits = certificate_expires_at, takes_limits

    def disconnected(self, node: RouterNode) -> None:
        """Note that a router's newest stream ended."""
        connected_at = self._connected.pop(node, None)
        if connected_at is not None:
            self._of(node).ended = _Ended(connected_at, monotonic())

    def acknowledged(self, node: RouterNode, epochs: Mapping[DeploymentName, Epoch]) -> None:
        """Note that a router serves these epochs."""
        self._of(node).epochs.update(epochs)

    def refused(self, node: RouterNode, why: str) -> None:
        """Note what a router refuses; an empty text when it accepts all again."""
        self._refusals[node] = why
        self._of(node).refusal = why

    def loaded(self, node: RouterNode, loads: Mapping[Drainee, tuple[DrainLoad, Epoch]]) -> None:
        """Note requests of what drains on a router, and the epochs that they count for."""
        self._of(node).loads.update(loads)

    def failed_over(self, node: RouterNode, sent: Mapping[RouteSetId, int]) -> None:
        """Note requests that a router has sent to fallbacks."""
        self._of(node).failovers.update(sent)

    async def run(self) -> None:
        """Write all news as they come, until cancelled; what Postgres cannot take now is tried again without end."""
        retry = RETRY_SECONDS
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._news = self._news, {}
            try:
                await self._write(batch)
            except Exception as error:  # noqa: BLE001 - it is told
                self._trouble.tell(error)
                if blames_record(error):
                    batch = await self._write_apart(batch)
                if batch:
                    self._keep(batch)
                    await asyncio.sleep(retry)
                    retry = min(retry * 2, self._longest_retry)
            else:
                self._trouble.is_over()
                retry = RETRY_SECONDS

    async def keep_seen(self) -> None:
        """Write, until cancelled, that the streams which are up are up."""
        while True:
            await asyncio.sleep(SEEN_SECONDS)
            if not self._connected:
                continue
            try:
                async with self._table.transaction() as tx:
                    await router_seen(tx, self._connected)
            except Exception as error:  # noqa: BLE001 - it is told
                self._seeing.tell(error)
            else:
                self._seeing.is_over()

    def _keep(self, batch: Mapping[RouterNode, _News]) -> None:
        """Keep news that could not be written beneath what came since."""
        for node, older in batch.items():
            self._news[node] = self._of(node).after(older)

    async def _write_apart(self, batch: Mapping[RouterNode, _News]) -> dict[RouterNode, _News]:
        """Write news one by one and drop what the table refuses; return what it could not take now."""
        left: dict[RouterNode, _News] = {}
        for node, news in sorted(batch.items()):
            for one in news.apart():
                if node in left:
                    left[node] = one.after(left[node])
                    continue
                try:
                    await self._write({node: one})
                except Exception as error:
                    if not blames_record(error):
                        left[node] = one
                        continue
                    self._metrics.dropped_news.inc()
                    log.exception("router_news_dropped", router=node, why=describe(error))
        return left

    def _of(self, node: RouterNode) -> _News:
        """Return the news of a router that wait to be written, and see to it that they are."""
        self._wake.set()
        return self._news.setdefault(node, _News())

    async def _write(self, batch: Mapping[RouterNode, _News]) -> None:
        written: dict[RouterNode, _Stream] = {}
        async with self._table.transaction() as tx:
            if len(batch) > 1:
                await _lock(tx, batch)
            for node, news in sorted(batch.items()):
                stream = await self._write_router(tx, node, news)
                if stream is not None:
                    written[node] = stream
        self._written |= written
        for node in batch.keys() - self._connected.keys() - self._news.keys():
            # Its end is written: a router that comes back begins anew.
            self._written.pop(node, None)
            self._refusals.pop(node, None)

    async def _write_router(self, tx: AsyncSession, node: RouterNode, news: _News) -> _Stream | None:
        """Write one router's news, and return its stream if that is new.

        What it still refuses is written after its acknowledgements, which clear it.
        """
        stream = None
        if news.connected_at is not None:
            ago, expires_at = _age(news.connected_at), news.certificate_expires_at
            started_at = await router_connected(
                tx, node, self._gateway, ago, expires_at, takes_limits=news.takes_limits
            )
            if started_at is not None:
                stream = _Stream(news.connected_at, started_at)
        if news.ended is not None:
            ended = stream or self._written.get(node)
            # Of a stream that the table does not have, since a newer one was there already, the end is no news.
            if ended is not None and ended.connected_at == news.ended.connected_at:
                await router_disconnected(tx, node, self._gateway, ended.started_at, _age(news.ended.at))
        if news.epochs:
            await router_acknowledged(tx, node, news.epochs)
        refusal = self._refusals.get(node, "") if news.epochs else news.refusal
        if refusal or news.refusal is not None:
            await router_refused(tx, node, refusal or "")
        if news.loads:
            await _write_loads(tx, node, news.loads)
        if news.failovers:
            await record_failovers(tx, node, self._gateway, news.failovers)
        return stream


def _age(moment: float) -> timedelta:
    return timedelta(seconds=max(0.0, monotonic() - moment))


async def _lock(tx: AsyncSession, batch: Mapping[RouterNode, _News]) -> None:
    """Lock the rows of all news, in the order of all writers."""
    drainees = [drainee for news in batch.values() for drainee in news.loads]
    await lock_for_news(
        tx,
        batch,
        {name for news in batch.values() for name in news.epochs},
        {one for one in drainees if not isinstance(one, Leaver)}.union(*(news.failovers for news in batch.values())),
        {RouteId(one.route) for one in drainees if isinstance(one, Leaver)},
    )


async def _write_loads(
    tx: AsyncSession,
    node: RouterNode,
    loads: Mapping[Drainee, tuple[DrainLoad, Epoch]],
) -> None:
    """Write sets and members each into their own table, in one order; of a member only its newest departure."""
    sets: list[SetLoad] = []
    members: dict[str, DepartureLoad] = {}
    for drainee, (load, epoch) in loads.items():
        if isinstance(drainee, Leaver):
            known = members.get(drainee.route)
            if known is None or known.epoch < epoch:
                members[drainee.route] = DepartureLoad(
                    route=drainee.route,
                    epoch=epoch,
                    running=min(load.running, MOST_RUNNING),
                    zero_reports=load.zero_reports,
                )
        else:
            sets.append(
                SetLoad(
                    route_set=drainee,
                    epoch=epoch,
                    running=min(load.running, MOST_RUNNING),
                    zero_reports=load.zero_reports,
                )
            )
    if sets:
        await record_load(tx, node, sorted(sets, key=lambda one: one.route_set))
    if members:
        await record_departures(tx, node, [members[route] for route in sorted(members)])
