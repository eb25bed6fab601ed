"""The API as a process."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI
from temporalio.client import Client

from celadon.api.app import make_app
from celadon.api.authentication import AuthenticationScheme, Authenticator, BearerScheme
from celadon.api.console.sessions import Sessions
from celadon.api.context import ApiParts
from celadon.api.desk import Desk
from celadon.api.feed import ChangeFeed
from celadon.api.jwt_tokens import IssuerKeys, JwtCheck
from celadon.api.metrics import ApiMetrics
from celadon.api.probes import Readiness
from celadon.api.settings import ApiSettings
from celadon.api.streams import Streams
from celadon.client.connection import connect
from celadon.client.rollouts import RolloutClient
from celadon.client.signatures import Signer
from celadon.domain.durations import parse_duration
from celadon.gateway.addresses import SocketAddress
from celadon.stopping import stop_signal
from celadon.table.engine import Table
from celadon.table.notify import Listener

APPLICATION_NAME: Final = "celadon-api"

_TEMPORAL_PATIENCE: Final = parse_duration("2m")
_SHUTDOWN_SECONDS: Final = 5

log = structlog.get_logger()


def api_of(settings: ApiSettings, table: Table, listener: Listener, temporal: Client) -> FastAPI:
    """Return the application with its parts, which live as long as ``table``, ``listener`` and ``temporal`` do.

    Raises:
        KeyFileError: the signing key cannot be read.

    """
    signer = None if settings.signing_key_file is None else Signer.of_file(settings.signing_key_file)
    if signer is None:
        log.warning(
            "callers_not_signed",
            next_step="set CELADON_SIGNING_KEY_FILE here and CELADON_VERIFY_KEYS_FILE at the workers, so that the "
            "audit log shows callers as verified",
        )
    metrics = ApiMetrics()
    jwt_check = None
    if settings.oidc_jwks_url is not None:
        jwt_check = JwtCheck(settings, IssuerKeys(str(settings.oidc_jwks_url)))
    bearer = BearerScheme(table, jwt_check)
    schemes: tuple[AuthenticationScheme, ...] = (bearer,)
    over_tls = settings.console_url is not None and settings.console_url.scheme == "https"
    rollouts = RolloutClient(temporal, sign=None if signer is None else signer.sign)
    parts = ApiParts(
        desk=Desk(table, rollouts, signs=signer is not None),
        authenticator=Authenticator(schemes, settings, metrics),
        feed=ChangeFeed(table, rollouts, listener),
        metrics=metrics,
        readiness=Readiness(table, temporal),
        sessions=Sessions(table, bearer, over_tls=over_tls),
        settings=settings,
        streams=Streams(settings.api_max_streams, settings.api_max_streams_per_caller, metrics),
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

    """
    with stop_signal() as stop:
        async with AsyncExitStack() as held:
            temporal = await connect(patience=_TEMPORAL_PATIENCE)
            table = await held.enter_async_context(Table(settings.database_url, APPLICATION_NAME))
            listener = await held.enter_async_context(Listener(settings.database_url, APPLICATION_NAME))
            app = api_of(settings, table, listener, temporal)
            with await listening_on(settings.api_address) as listening:
                log.info("api_listening", address=str(settings.api_address))
                await serve(app, listening, stop)
    log.info("api_stopped")


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


async def serve(app: FastAPI, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serve callers until ``stop`` is set; live streams end with it."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        lifespan="off",
        ws="none",
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving


class _Server(uvicorn.Server):
    """Leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield
