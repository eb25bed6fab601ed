"""What routers say, on its way into the table.

News of all routers is collected and written by one task in one transaction, so a thousand acknowledgements at a
router's start cost one, and an acknowledgement alone is written at once. While Postgres is away the newest state of
each router is kept and written when it is back.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.names import DeploymentName, Epoch, RouterNode
from celadon.gateway.load_reports import Drainee, DrainLoad, Leaver
from celadon.gateway.metrics import GatewayMetrics
from celadon.table.engine import Table
from celadon.table.outages import TABLE_OUTAGES, describe
from celadon.table.routers import (
    DepartureLoad,
    SetLoad,
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

RETRY_SECONDS: Final = 0.2
MAX_RETRY_SECONDS: Final = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Ended:
    """When a stream began and when it ended."""

    connected_at: datetime
    at: datetime


@dataclass(slots=True)
class _News:
    """What is to be written of one router."""

    connected_at: datetime | None = None
    certificate_expires_at: datetime | None = None
    """Of the certificate with which it connected."""
    ended: "_Ended | None" = None
    """The end of its newest stream, if that has ended."""
    epochs: dict[DeploymentName, Epoch] = field(default_factory=dict)
    refusal: str | None = None
    """What it refuses now; empty when it accepts all again, ``None`` when nothing changed."""
    loads: dict[Drainee, tuple[DrainLoad, Epoch]] = field(default_factory=dict)

    def after(self, older: "_News") -> "_News":
        """Return these news on top of older ones that could not be written."""
        return _News(
            connected_at=self.connected_at or older.connected_at,
            certificate_expires_at=(self if self.connected_at else older).certificate_expires_at,
            ended=self.ended or (older.ended if self.connected_at is None else None),
            epochs={**older.epochs, **self.epochs},
            refusal=older.refusal if self.refusal is None else self.refusal,
            loads={**older.loads, **self.loads},
        )


class TableJournal:
    """Writes what routers say into the table; ``gateway`` names this process there."""

    def __init__(self, table: Table, gateway: str, metrics: GatewayMetrics) -> None:
        """Begin with nothing heard."""
        self._table = table
        self._gateway = gateway
        self._metrics = metrics
        self._news: dict[RouterNode, _News] = {}
        self._refusals: dict[RouterNode, str] = {}
        self._connected: dict[RouterNode, datetime] = {}
        self._wake = asyncio.Event()

    def connected(self, node: RouterNode, certificate_expires_at: datetime | None) -> None:
        """Note that a router opened its stream."""
        now = self._connected[node] = datetime.now(UTC)
        self._refusals.pop(node, None)
        news = self._of(node)
        news.connected_at, news.ended, news.refusal = now, None, ""
        news.certificate_expires_at = certificate_expires_at

    def disconnected(self, node: RouterNode) -> None:
        """Note that a router's newest stream ended."""
        connected_at = self._connected.pop(node, None)
        if connected_at is not None:
            self._of(node).ended = _Ended(connected_at, datetime.now(UTC))

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

    async def run(self) -> None:
        """Write all news as they come, until cancelled; failures of Postgres are tried again without end."""
        retry = RETRY_SECONDS
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._news = self._news, {}
            try:
                await self._write(batch)
            except TABLE_OUTAGES as error:
                self._metrics.table_errors.inc()
                log.warning("router_news_not_written", routers=len(batch), why=describe(error))
                for node, older in batch.items():
                    self._of(node)
                    self._news[node] = self._news[node].after(older)
                await asyncio.sleep(retry)
                retry = min(retry * 2, MAX_RETRY_SECONDS)
            else:
                retry = RETRY_SECONDS

    async def keep_seen(self) -> None:
        """Write, until cancelled, that the streams which are up are up."""
        while True:
            await asyncio.sleep(SEEN_SECONDS)
            if not self._connected:
                continue
            try:
                async with self._table.transaction() as tx:
                    await router_seen(tx, sorted(self._connected))
            except TABLE_OUTAGES as error:
                self._metrics.table_errors.inc()
                log.warning("routers_not_marked_seen", why=describe(error))

    def _of(self, node: RouterNode) -> _News:
        """Return the news of a router that wait to be written, and see to it that they are."""
        self._wake.set()
        return self._news.setdefault(node, _News())

    async def _write(self, batch: Mapping[RouterNode, _News]) -> None:
        async with self._table.transaction() as tx:
            for node, news in sorted(batch.items()):
                await self._write_router(tx, node, news)

    async def _write_router(self, tx: AsyncSession, node: RouterNode, news: _News) -> None:
        """Write one router's news; what it still refuses is written after its acknowledgements, which clear it."""
        if news.connected_at is not None:
            await router_connected(tx, node, self._gateway, news.connected_at, news.certificate_expires_at)
        if news.ended is not None:
            await router_disconnected(tx, node, self._gateway, news.ended.connected_at, news.ended.at)
        if news.epochs:
            await router_acknowledged(tx, node, news.epochs)
        refusal = self._refusals.get(node, "") if news.epochs else news.refusal
        if refusal or news.refusal is not None:
            await router_refused(tx, node, refusal or "")
        if news.loads:
            await _write_loads(tx, node, news.loads)


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
                    running=load.running,
                    zero_reports=load.zero_reports,
                )
        else:
            sets.append(
                SetLoad(
                    route_set=drainee,
                    epoch=epoch,
                    running=load.running,
                    zero_reports=load.zero_reports,
                )
            )
    if sets:
        await record_load(tx, node, sorted(sets, key=lambda one: one.route_set))
    if members:
        await record_departures(tx, node, [members[route] for route in sorted(members)])
