"""A network between two processes that a test can hold up, break and mend."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 1 << 16


class TcpProxy:
    """Passes bytes on between a port of its own and another one."""

    def __init__(self, target: int) -> None:
        """Lead to port ``target`` of this machine."""
        self._target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    def hold(self) -> None:
        """Pass nothing on any more; connections stay open, and new ones are accepted, as when packets are lost."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on what was held up, and what comes."""
        self._flows.set()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._connect, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Break all connections and accept none."""
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._flows.wait()
            async with _opened(self._target) as (back, forth):
                passing = [
                    asyncio.ensure_future(self._pass_on(reader, forth)),
                    asyncio.ensure_future(self._pass_on(back, writer)),
                ]
                try:
                    await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for one in passing:
                        one.cancel()
                    await asyncio.gather(*passing, return_exceptions=True)
        except OSError:
            # Whoever was called is not there; the caller sees its connection end.
            pass
        except asyncio.CancelledError:
            # The end of the network, not of the task's owner.
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._flows.wait()
            writer.write(chunk)
            await writer.drain()


@asynccontextmanager
async def _opened(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        yield reader, writer
    finally:
        with contextlib.suppress(OSError):
            writer.transport.abort()
