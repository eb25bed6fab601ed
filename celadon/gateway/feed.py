"""From the table to publications: loads them all, then follows their changes."""

import asyncio
import json
from collections.abc import Collection, Iterable
from typing import Final

import structlog

from celadon.domain.decisions.publication import DeploymentTraffic, Publication, publish, refuse_endpoints
from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.names import DeploymentName, Epoch
from celadon.gateway.metrics import GatewayMetrics
from celadon.gateway.server import XdsServer
from celadon.table.core.engine import Table
from celadon.table.core.listen import ChannelSubscription
from celadon.table.core.outages import TABLE_OUTAGES, NotMigratedError, describe
from celadon.table.routers.panic import tell_panic
from celadon.table.routers.traffic import read_all_traffic, read_epochs, read_traffic

POLL_SECONDS: Final = 5.0
"""How often epochs are compared although nothing was heard: notifications are not kept for a listener that is away."""

RETRY_SECONDS: Final = 0.5

READ_ALONE_AT_MOST: Final = 20
"""Up to so many deployments are read one by one; for more the whole table is read once."""

log = structlog.get_logger()


class PublicationFeed:
    """Knows which epoch of each deployment the server has been told."""

    def __init__(
        self,
        table: Table,
        metrics: GatewayMetrics,
        gateway: str,
        reach: Reach,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Begin with nothing told; ``gateway`` names this process in the table.

        Endpoints that ``reach`` refuses are published to nobody, whatever the table says of them.
        """
        self._reach = reach
        self._poll_seconds = poll_seconds
        self._table = table
        self._metrics = metrics
        self._gateway = gateway
        self._epochs: dict[DeploymentName, Epoch] = {}
        self._reading = asyncio.Lock()
        """One reads at a time, so that what was read earlier is never told later."""
        self._compared_at = float("-inf")
        """When the newest comparison with the table began, in seconds of the event loop's clock."""
        self._panics_to_tell: dict[DeploymentName, Publication] = {}
        """Publications that differ in panic from what the audit log was told last."""
        self._left_out: dict[DeploymentName, str] = {}
        """Deployments that cannot be read or published, and why; routers keep what they have of them."""
        self._following = metrics.trouble("publications", "table_not_followed")
        self._telling = metrics.trouble("panics", "panic_not_told")

    async def load(self) -> list[Publication]:
        """Return the publications of all deployments; waits for as long as Postgres is away or not migrated.

        One that cannot be read or published is left out, and tried again at each comparison.
        """
        loading = self._metrics.trouble("publications", "table_not_loaded")
        while True:
            try:
                async with self._table.reading() as tx:
                    names = set(await read_epochs(tx))
                traffic, _ = await self._read_traffic(names)
            except (*TABLE_OUTAGES, NotMigratedError) as error:
                loading.tell(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                log.info("table_loaded", deployments=len(traffic))
                return self._publish(traffic)

    async def follow(self, heard: ChannelSubscription, server: XdsServer) -> None:
        """Tell the server of every change, until cancelled; routers keep what they have while the table is not read."""
        in_doubt = False
        while True:
            payloads = await heard.get(RETRY_SECONDS if in_doubt or self._panics_to_tell else self._poll_seconds)
            try:
                async with self._reading:
                    if in_doubt or not payloads or "" in payloads:
                        changed, gone = await self._compare()
                    else:
                        changed, gone = await self._read({json.loads(payload)["deployment"] for payload in payloads})
                    if changed or gone:
                        server.publish(changed, gone)
            except Exception as error:  # noqa: BLE001 - it is told; routers keep what they have
                self._following.tell(error)
                in_doubt = True
            else:
                self._following.is_over()
                in_doubt = False
                await self._tell_panics()

    async def catch_up(self, server: XdsServer, *, patient: bool) -> None:
        """Tell the server all that the table has now; one comparison serves all who asked before it began.

        ``patient`` waits for as long as the table cannot be read; else the first failure is the end of it.
        """
        asked_at = asyncio.get_running_loop().time()
        while self._compared_at < asked_at:
            try:
                async with self._reading:
                    if self._compared_at < asked_at:
                        changed, gone = await self._compare()
                        if changed or gone:
                            server.publish(changed, gone)
            except Exception as error:  # noqa: BLE001 - it is told
                self._following.tell(error)
                log.warning("router_waits_for_table" if patient else "router_told_what_is_known")
                if not patient:
                    return
                await asyncio.sleep(RETRY_SECONDS)

    async def _tell_panics(self) -> None:
        """Write beginnings and ends of panic into the audit log; what Postgres does not take is told again."""
        for name, publication in list(self._panics_to_tell.items()):
            try:
                async with self._table.transaction() as tx:
                    is_news = await tell_panic(
                        tx, name, publication.epoch, panic=publication.panic, gateway=self._gateway
                    )
            except Exception as error:  # noqa: BLE001 - it is told, and the panic is told again
                self._telling.tell(error)
                return
            self._telling.is_over()
            if is_news:
                log.warning("panic" if publication.panic else "panic_over", deployment=name, epoch=publication.epoch)
            if self._panics_to_tell.get(name) is publication:
                del self._panics_to_tell[name]

    async def _compare(self) -> tuple[list[Publication], list[DeploymentName]]:
        """Return what has changed since it was last read, found by the epochs alone."""
        began_at = asyncio.get_running_loop().time()
        async with self._table.reading() as tx:
            epochs = await read_epochs(tx)
        names = {name for name, epoch in epochs.items() if self._epochs.get(name) != epoch}
        changes = await self._read(names | (self._epochs.keys() - epochs.keys()))
        self._compared_at = began_at
        return changes

    async def _read(self, names: set[DeploymentName]) -> tuple[list[Publication], list[DeploymentName]]:
        """Return the publications of the named deployments, and those of the names that are gone."""
        traffic, unreadable = await self._read_traffic(names)
        absent = names - {one.deployment for one in traffic} - unreadable
        for name in absent:
            self._left_out.pop(name, None)
        gone = sorted(absent & self._epochs.keys())
        for name in gone:
            del self._epochs[name]
            self._panics_to_tell.pop(name, None)
            log.info("deployment_withdrawn", deployment=name)
        return self._publish(traffic), gone

    async def _read_traffic(self, names: set[DeploymentName]) -> tuple[list[DeploymentTraffic], set[DeploymentName]]:
        """Return the traffic of those of the named deployments that there are, and which cannot be read."""
        if not names:
            return [], set()
        try:
            return await self._read_together(names), set()
        except (*TABLE_OUTAGES, NotMigratedError):
            raise
        except Exception:  # noqa: BLE001 - the one that cannot be read is found, and told, below
            traffic: list[DeploymentTraffic] = []
            unreadable: set[DeploymentName] = set()
        for name in sorted(names):
            try:
                traffic += await self._read_together({name})
            except (*TABLE_OUTAGES, NotMigratedError):
                raise
            except Exception as error:  # noqa: BLE001 - it is told
                self._leave_out(name, error)
                unreadable.add(name)
        return traffic, unreadable

    async def _read_together(self, names: Collection[DeploymentName]) -> list[DeploymentTraffic]:
        async with self._table.reading() as tx:
            if len(names) > READ_ALONE_AT_MOST:
                return [one for one in await read_all_traffic(tx) if one.deployment in names]
            traffic = [await read_traffic(tx, name) for name in sorted(names)]
        return [one for one in traffic if one is not None]

    def _leave_out(self, name: DeploymentName, error: Exception) -> None:
        """Count that a deployment cannot be published, and tell it once with its trace."""
        self._metrics.faults.labels("deployment").inc()
        why = describe(error)
        if self._left_out.get(name) != why:
            self._left_out[name] = why
            log.error("deployment_left_out", deployment=name, why=why, exc_info=error)

    def _publish(self, traffic: Iterable[DeploymentTraffic]) -> list[Publication]:
        publications: list[Publication] = []
        for read in traffic:
            try:
                permitted, refusals = refuse_endpoints(read, self._reach)
                one = publish(permitted)
            except Exception as error:  # noqa: BLE001 - it is told
                self._leave_out(read.deployment, error)
                continue
            if self._left_out.pop(read.deployment, None) is not None:
                log.info("deployment_no_longer_left_out", deployment=read.deployment)
            for endpoint, why in refusals.items():
                log.warning("endpoint_refused", deployment=read.deployment, endpoint=endpoint, why=why)
            publications.append(one)
            self._epochs[one.deployment] = one.epoch
            if one.panic is read.panicking:
                self._panics_to_tell.pop(one.deployment, None)
            else:
                self._panics_to_tell[one.deployment] = one
            log.info("published", deployment=one.deployment, epoch=one.epoch, panic=one.panic)
        return publications
