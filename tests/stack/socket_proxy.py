"""A network between two processes that a test can hold up, break and mend."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

CHUNK_BYTES = 1 << 16


class SocketProxy:
    """Passes bytes on between a Unix socket of its own and another one."""

    def __init__(self, path: Path, target: Path) -> None:
        """Listen on ``path`` and lead to ``target``."""
        self.path = path
        self._target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def hold(self) -> None:
        """Pass nothing on any more; connections stay open, and new ones are accepted, as when packets are lost."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on what was held up, and what comes."""
        self._flows.set()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._connect, self.path)
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
async def _opened(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        with contextlib.suppress(OSError):
            writer.transport.abort()
