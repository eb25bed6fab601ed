"""The API as a process."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Final, cast

import structlog
import uvicorn
from fastapi import FastAPI
from temporalio.client import Client

from celadon.api.app import make_app
from celadon.api.authentication import Authenticator, BearerScheme
from celadon.api.console.sessions import Sessions
from celadon.api.context import ApiParts
from celadon.api.feed import ChangeFeed
from celadon.api.guessing import Guessing
from celadon.api.jwt_tokens import IssuerKeys, JwtCheck
from celadon.api.metrics import ApiMetrics
from celadon.api.probes import Readiness
from celadon.api.protocol import ConnectionLimits, Connections, GuardedProtocol, possible_connections
from celadon.api.serving import ApiService
from celadon.api.settings import ApiSettings
from celadon.api.streams import Streams
from celadon.api.times import USUAL_TIMES, ApiTimes
from celadon.api.workflow_watch import WorkflowWatch
from celadon.client.connection import connect
from celadon.client.rollouts import RolloutClient
from celadon.domain.language.durations import parse_duration
from celadon.gateway.addresses import SocketAddress
from celadon.host_settings import HostSettings
from celadon.racing import first_to_end
from celadon.stopping import stop_signal
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from celadon.table.core.startup import usable_or_stopped
from celadon.table.core.trouble_log import TroubleLog

APPLICATION_NAME: Final = "celadon-api"

_TEMPORAL_PATIENCE: Final = parse_duration("2m")
_SHUTDOWN_SECONDS: Final = 5
_TICKS_A_SECOND: Final = 10
"""Of uvicorn."""

log = structlog.get_logger()


def api_of(
    settings: ApiSettings,
    table: Table,
    listener: Listener,
    temporal: Client,
    times: ApiTimes = USUAL_TIMES,
) -> FastAPI:
    """Return the application with its parts, which live as long as ``table``, ``listener`` and ``temporal`` do.

    Raises:
        KeyFileError: the signing key cannot be read.

    """
    signer = settings.signer()
    if signer is None:
        log.warning(
            "callers_not_signed",
            next_step="make a pair with 'celadon api keys', set CELADON_SIGNING_KEY_FILE here and "
            "CELADON_VERIFY_KEYS_FILE at the workers: without, workers take all that is sent for unsigned",
        )
    metrics = ApiMetrics()
    jwt_check = None
    if settings.oidc_jwks_url is not None:
        jwt_check = JwtCheck(settings, IssuerKeys(str(settings.oidc_jwks_url), patience=times.key_fetch))
    bearer = BearerScheme(table, jwt_check)
    guessing = Guessing(settings, metrics, times.failure_clock)
    over_tls = settings.console_url is not None and settings.console_url.scheme == "https"
    rollouts = RolloutClient(temporal, signer, times.workflow_task)
    parts = ApiParts(
        service=ApiService(table, rollouts, signs=signer is not None, claimable=HostSettings().claimable),
        authenticator=Authenticator(bearer, guessing, settings, metrics),
        bearer=bearer,
        feed=ChangeFeed(table, rollouts, listener, metrics.trouble("changes", "changes_not_heard"), times.look),
        guessing=guessing,
        metrics=metrics,
        readiness=Readiness(table, temporal),
        sessions=Sessions(table, settings.oidc_issuer, over_tls=over_tls),
        settings=settings,
        streams=Streams(settings.api_max_streams, settings.api_max_streams_per_caller, metrics),
        times=times,
        workflow_watch=WorkflowWatch(table, rollouts, metrics),
        workflows_url=""
        if settings.temporal_ui_url is None
        else f"{str(settings.temporal_ui_url).rstrip('/')}/namespaces/{temporal.namespace}",
    )
    return make_app(settings, parts)


async def run_api(settings: ApiSettings) -> None:
    """Serve callers until SIGTERM or SIGINT.

    Raises:
        TemporalUnreachableError: Temporal did not answer in time.
        KeyFileError: the signing key cannot be read.
        OSError: the address is not free.
        DatabaseRefusedError: the database cannot serve Celadon.

    """
    with stop_signal() as stop:
        async with AsyncExitStack() as held:
            temporal = await connect(patience=_TEMPORAL_PATIENCE)
            table = await held.enter_async_context(Table(settings.database_url, APPLICATION_NAME))
            listener = await held.enter_async_context(Listener(settings.database_url, APPLICATION_NAME))
            app = api_of(settings, table, listener, temporal)
            parts: ApiParts = app.state.parts
            with await listening_on(settings.api_address) as listening:
                log.info("api_listening", address=str(settings.api_address))
                checking = asyncio.create_task(_check_table(settings, stop), name="celadon-startup")
                await first_to_end(
                    serve(app, listening, stop, limits_of(settings)),
                    parts.workflow_watch.watch_until_cancelled(),
                )
                await checking
    log.info("api_stopped")


async def _check_table(settings: ApiSettings, stop: asyncio.Event) -> None:
    """Make sure, while callers are answered already, that the database can be used; else let the process end.

    Raises:
        DatabaseRefusedError: it cannot serve Celadon at all.

    """
    try:
        await usable_or_stopped(settings.database_url, stop, TroubleLog("table_not_usable"))
    except Exception:
        stop.set()
        raise


def limits_of(settings: ApiSettings, times: ApiTimes = USUAL_TIMES) -> ConnectionLimits:
    """Return what clients may hold, by the settings and by how many files the process may open."""
    connections = possible_connections(settings.api_max_connections)
    if connections < settings.api_max_connections:
        log.warning(
            "fewer_connections",
            connections=connections,
            next_step="raise the limit of open files (LimitNOFILE, ulimit -n), or lower CELADON_API_MAX_CONNECTIONS",
        )
    return ConnectionLimits(
        head_seconds=settings.api_head_timeout.total_seconds(),
        # The application answers a slow body before; what it did not read ends here.
        body_seconds=(settings.api_body_timeout + times.unread_body_grace).total_seconds(),
        unread_seconds=settings.api_unread_timeout.total_seconds(),
        connections=connections,
        connections_per_address=max(1, connections // 2),
        trusted=settings.trusted_proxies,
    )


async def listening_on(address: SocketAddress) -> socket.socket:
    """Return a socket that listens on ``address``.

    Uvicorn would end the whole process when its address is taken; this raises.

    Raises:
        OSError: the address is not free.

    """
    infos = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, where = infos[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


async def serve(app: FastAPI, listening: socket.socket, stop: asyncio.Event, limits: ConnectionLimits) -> None:
    """Serve callers until ``stop`` is set; live streams end with it."""
    connections = Connections(limits)
    config = uvicorn.Config(
        app,
        # Uvicorn calls it as it calls its own classes.
        http=cast("type[asyncio.Protocol]", partial(GuardedProtocol, connections=connections)),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        lifespan="off",
        ws="none",
    )
    server = _Server(config, connections)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving


class _Server(uvicorn.Server):
    """Leaves signals to us, and ends connections that are only held."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        """Serve ``connections``."""
        super().__init__(config)
        self._connections = connections

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections once a second."""
        if counter % _TICKS_A_SECOND == 0:
            self._connections.sweep()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End also what does not end by itself."""
        await super().shutdown(sockets)
        self._connections.end_all()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield
