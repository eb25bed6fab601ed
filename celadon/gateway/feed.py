"""From the table to publications: loads them all, then follows their changes."""

import asyncio
import json
from collections.abc import Iterable
from typing import Final

import structlog

from celadon.domain.names import DeploymentName, Epoch
from celadon.domain.publication import DeploymentTraffic, Publication, publish
from celadon.gateway.metrics import GatewayMetrics
from celadon.gateway.server import XdsServer
from celadon.table.engine import Table
from celadon.table.notify import Subscription
from celadon.table.outages import TABLE_OUTAGES, describe
from celadon.table.traffic import read_all_traffic, read_epochs, read_traffic

POLL_SECONDS: Final = 5.0
"""How often epochs are compared although nothing was heard: notifications are not kept for a listener that is away."""

RETRY_SECONDS: Final = 0.5

READ_ALONE_AT_MOST: Final = 20
"""Up to so many deployments are read one by one; for more the whole table is read once."""

log = structlog.get_logger()


class PublicationFeed:
    """Knows which epoch of each deployment the server has been told."""

    def __init__(self, table: Table, metrics: GatewayMetrics) -> None:
        """Begin with nothing told."""
        self._table = table
        self._metrics = metrics
        self._epochs: dict[DeploymentName, Epoch] = {}

    async def load(self) -> list[Publication]:
        """Return the publications of all deployments; waits for as long as the table cannot be read."""
        told = ""
        while True:
            try:
                async with self._table.transaction() as tx:
                    traffic = await read_all_traffic(tx)
            except TABLE_OUTAGES as error:
                self._metrics.table_errors.inc()
                why = describe(error)
                if why != told:
                    log.warning("table_not_loaded", why=why, next_step="start Postgres, or run `celadon db upgrade`")
                    told = why
                await asyncio.sleep(RETRY_SECONDS)
            else:
                log.info("table_loaded", deployments=len(traffic))
                return self._publish(traffic)

    async def follow(self, heard: Subscription, server: XdsServer) -> None:
        """Tell the server of every change, until cancelled; routers keep what they have while Postgres is away."""
        in_doubt = False
        while True:
            payloads = await heard.get(RETRY_SECONDS if in_doubt else POLL_SECONDS)
            try:
                if in_doubt or not payloads or "" in payloads:
                    changed, gone = await self._compare()
                else:
                    changed, gone = await self._read({json.loads(payload)["deployment"] for payload in payloads})
            except TABLE_OUTAGES as error:
                self._metrics.table_errors.inc()
                if not in_doubt:
                    log.warning("table_not_followed", why=describe(error))
                in_doubt = True
            else:
                if in_doubt:
                    log.info("table_followed_again")
                in_doubt = False
                if changed or gone:
                    server.publish(changed, gone)

    async def _compare(self) -> tuple[list[Publication], list[DeploymentName]]:
        """Return what has changed since it was last read, found by the epochs alone."""
        async with self._table.transaction() as tx:
            epochs = await read_epochs(tx)
        names = {name for name, epoch in epochs.items() if self._epochs.get(name) != epoch}
        return await self._read(names | (self._epochs.keys() - epochs.keys()))

    async def _read(self, names: set[DeploymentName]) -> tuple[list[Publication], list[DeploymentName]]:
        """Return the publications of the named deployments, and those of the names that are gone."""
        traffic: list[DeploymentTraffic] = []
        if names:
            async with self._table.transaction() as tx:
                if len(names) > READ_ALONE_AT_MOST:
                    traffic = [one for one in await read_all_traffic(tx) if one.deployment in names]
                else:
                    found = [await read_traffic(tx, name) for name in sorted(names)]
                    traffic = [one for one in found if one is not None]
        gone = sorted((names - {one.deployment for one in traffic}) & self._epochs.keys())
        for name in gone:
            del self._epochs[name]
            log.info("deployment_withdrawn", deployment=name)
        return self._publish(traffic), gone

    def _publish(self, traffic: Iterable[DeploymentTraffic]) -> list[Publication]:
        publications = [publish(one) for one in traffic]
        for one in publications:
            self._epochs[one.deployment] = one.epoch
            log.info("published", deployment=one.deployment, epoch=one.epoch, panic=one.panic)
        return publications
