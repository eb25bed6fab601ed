"""The gateway as a process: table in, routers out."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc
import structlog

from celadon.gateway.addresses import SocketAddress
from celadon.gateway.admission import TableAdmission
from celadon.gateway.feed import POLL_SECONDS, PublicationFeed
from celadon.gateway.journal import TableJournal
from celadon.gateway.metrics import GatewayMetrics
from celadon.gateway.peers import ServerCertificate
from celadon.gateway.server import XdsServer
from celadon.gateway.settings import GatewaySettings
from celadon.racing import first_to_end
from celadon.reach_settings import ReachSettings
from celadon.stopping import stop_signal
from celadon.table.core.engine import Table
from celadon.table.core.listen import ENROLMENTS_CHANNEL, LISTENER_LOST, ROUTES_CHANNEL, Listener
from celadon.table.core.startup import until_usable

APPLICATION_NAME: Final = "celadon-gateway"

log = structlog.get_logger()


async def run_gateway(settings: GatewaySettings, poll_seconds: float = POLL_SECONDS) -> None:
    """Serve routers until SIGTERM or SIGINT.

    Nothing listens for routers before the table has been loaded, however long Postgres is away. The table is compared
    with what routers were told each ``poll_seconds``, although nothing was heard.

    Raises:
        OSError: an address of the gateway is not free.
        CertificateError: its certificates cannot be used.
        DatabaseRefusedError: the database cannot serve Celadon.

    """
    credentials = None
    if isinstance(settings.gateway_address, SocketAddress) and settings.gateway_tls_dir is not None:
        credentials = ServerCertificate(settings.gateway_tls_dir).credentials
    metrics = GatewayMetrics()
    with _serving(metrics, settings), stop_signal() as stop:
        await first_to_end(_follow_table(settings, metrics, credentials, poll_seconds), _wait_for(stop))


async def _follow_table(
    settings: GatewaySettings,
    metrics: GatewayMetrics,
    credentials: grpc.ServerCredentials | None,
    poll_seconds: float,
) -> None:
    await until_usable(settings.database_url, metrics.trouble("start", "table_not_loaded"))
    async with (
        Table(settings.database_url, APPLICATION_NAME) as table,
        Listener(settings.database_url, APPLICATION_NAME, metrics.trouble("listener", LISTENER_LOST)) as listener,
        listener.subscribe(ROUTES_CHANNEL) as heard,
        listener.subscribe(ENROLMENTS_CHANNEL) as heard_of_enrolments,
    ):
        name = f"{socket.gethostname()}/{settings.gateway_address}"
        feed = PublicationFeed(table, metrics, name, ReachSettings().reach, poll_seconds)
        journal = TableJournal(table, name, metrics)

        async def catch_up(*, patient: bool) -> None:
            await feed.catch_up(server, patient=patient)

        admission = TableAdmission(table, metrics)
        server = XdsServer(settings.routing(), await feed.load(), journal, metrics, admission, catch_up)
        await server.start(settings.gateway_address, credentials)
        log.info("gateway_listening", address=str(settings.gateway_address))
        try:
            await first_to_end(
                feed.follow(heard, server),
                admission.follow(heard_of_enrolments, server),
                journal.run(),
                journal.keep_seen(),
            )
        finally:
            await server.stop()
            log.info("gateway_stopped")


async def _wait_for(stop: asyncio.Event) -> None:
    await stop.wait()


@contextmanager
def _serving(metrics: GatewayMetrics, settings: GatewaySettings) -> Iterator[None]:
    """Answer scrapes of Prometheus, if an address was given for that."""
    if settings.gateway_metrics_address is None:
        yield
        return
    server, thread = metrics.serve(settings.gateway_metrics_address)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
