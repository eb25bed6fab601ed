"""Endpoints that exist, for revisions of provisioner ``static``: they accept connections, and that is all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

_BACKLOG: Final = 1024


@asynccontextmanager
async def endpoints(count: int) -> AsyncIterator[tuple[str, ...]]:
    """Accept connections at so many addresses of the loopback."""
    hosts = [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(count)]
    async with AsyncExitStack() as servers:
        addresses = []
        for host in hosts:
            server = await servers.enter_async_context(await asyncio.start_server(_close, host, 0, backlog=_BACKLOG))
            addresses.append(f"{host}:{server.sockets[0].getsockname()[1]}")
        yield tuple(addresses)


@asynccontextmanager
async def one_endpoint() -> AsyncIterator[str]:
    """Accept connections at one address, which can serve any number of deployments."""
    async with endpoints(1) as addresses:
        yield addresses[0]


async def _close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()
