"""A server that closes each connection after some answers and says nothing of it, as one whose patience is over."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.gateway.traffic import LOOPBACK

PAUSES = (0.0, 0.001, 0.005)
"""Seconds from an answer to the end of the connection, in turn: the router's next request meets each of them."""


class ClosingServer:
    """Counts the requests that came to it, by their path."""

    def __init__(self, answers: int) -> None:
        """Prepare a server that gives so many answers on each connection."""
        self.port = 0
        self.requests: Counter[str] = Counter()
        self._answers = answers
        self._connections = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["ClosingServer"]:
        """Listen on a free port."""
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        pause = PAUSES[self._connections % len(PAUSES)]
        try:
            for _ in range(self._answers):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                if "content-length: 2" in head:
                    await reader.readexactly(2)
                self.requests[head.split(" ")[1]] += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                await writer.drain()
            await asyncio.sleep(pause)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()
