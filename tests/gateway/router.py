"""An Envoy of a test's own, started from the bootstrap that the gateway writes."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import ClientConnectionError, ClientResponse, ClientSession, UnixConnector
from multidict import CIMultiDictProxy

from celadon.domain.language.names import RouterNode
from celadon.gateway.addresses import GatewayAddress, SocketAddress
from celadon.gateway.bootstrap import bootstrap
from celadon.gateway.open_files import DEFAULT_CONNECTIONS
from celadon.gateway.own_listeners import OwnListeners
from celadon.stack.programs import envoy_program
from celadon.stack.router import ADMIN_URL
from tests.gateway.traffic import LOOPBACK

DEADLINE_SECONDS = 60.0
"""For what takes a moment: a busy machine may stand still for some seconds, and an Envoy has to start."""


_numbers = count(1)


async def until(
    condition: Callable[[], bool] | Callable[[], Awaitable[bool]],
    deadline_seconds: float = DEADLINE_SECONDS,
) -> None:
    """Wait until a condition holds; raises ``TimeoutError`` after the deadline."""
    async with asyncio.timeout(deadline_seconds):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Answer:
    """A response that was read to its end."""

    status: int
    body: str
    headers: CIMultiDictProxy[str]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Router:
    """A running Envoy and a client for it."""

    node: RouterNode
    live: int
    preview: int
    admin: Path
    client: ClientSession
    process: asyncio.subprocess.Process

    async def ask(
        self,
        path: str = "/v1/models",
        host: str = "chat",
        port: int | None = None,
        method: str = "GET",
        body: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """Send a request, to the live listener unless told otherwise; underscores in headers' names mean dashes."""
        async with self.open(path, host, port, method, body, **headers) as response:
            return Answer(response.status, await response.text(), response.headers)

    @asynccontextmanager
    async def open(
        self,
        path: str,
        host: str = "chat",
        port: int | None = None,
        method: str = "GET",
        body: bytes | None = None,
        **headers: str,
    ) -> AsyncIterator[ClientResponse]:
        """Open a response, for example a stream."""
        dashed = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://{LOOPBACK}:{port or self.live}{path}"
        async with self.client.request(
            method, url, headers={"host": host, **dashed}, data=None if body is None else BytesIO(body)
        ) as response:
            yield response

    async def stream(self, port: int | None = None) -> str:
        """Read a stream to its end."""
        return (await self.ask("/stream", port=port)).body

    async def counter(self, name: str) -> int:
        """Return one of Envoy's own statistics; zero while it is not there."""
        text = await self.ask_admin(f"/stats?filter=^{name}$")
        return int(text.rpartition(": ")[2]) if text else 0

    async def ask_admin(self, path: str) -> str:
        """Return what Envoy's admin interface answers."""
        async with (
            ClientSession(connector=UnixConnector(str(self.admin))) as session,
            session.get(f"{ADMIN_URL}{path}") as response,
        ):
            return await response.text()

    async def listens(self) -> bool:
        """Whether the live listener is there."""
        try:
            await self.ask("/", host="nobody")
        except ClientConnectionError:
            return False
        return True


async def raw(router: Router, request: bytes) -> tuple[int, dict[str, str], str]:
    """Send bytes to a router; return the status, the headers and the body of its answer."""
    reader, writer = await asyncio.open_connection(LOOPBACK, router.live)
    try:
        writer.write(request)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    finally:
        writer.close()
    return int(head[0].split()[1]), headers, body.decode()


@asynccontextmanager
async def running_router(
    directory: Path,
    gateway: GatewayAddress,
    live: int,
    preview: int,
    node: str = "router",
    listens: Mapping[str, SocketAddress] | None = None,
    other_gateways: Sequence[GatewayAddress] = (),
    max_connections: int = DEFAULT_CONNECTIONS,
) -> AsyncIterator[Router]:
    """Run Envoy until the block ends, for gateways on Unix sockets; it may have no listener yet."""
    name = f"{node}-{next(_numbers)}"
    with tempfile.TemporaryDirectory(prefix="celadon-admin-") as sockets:
        admin = Path(sockets) / "admin.sock"
        written = bootstrap(
            RouterNode(node),
            [gateway, *other_gateways],
            admin,
            OwnListeners(listens or {}),
            max_connections=max_connections,
        )
        configuration = directory / f"{name}.json"
        configuration.write_text(json.dumps(written))
        async with running_envoy(configuration, directory / f"{name}.log") as process, ClientSession() as client:
            yield Router(RouterNode(node), live, preview, admin, client, process)


@asynccontextmanager
async def running_envoy(configuration: Path, log_file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Envoy with a bootstrap until the block ends."""
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(envoy_program()),
            *("-c", str(configuration), "--concurrency", "2", "--disable-hot-restart", "--log-level", "warning"),
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
