"""One connection of a client by HTTP/1.1, byte by byte: requests that no client library would send as they are."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.gateway.traffic import LOOPBACK


@dataclass(frozen=True)
class Reply:
    """An answer with what it says of itself, its header names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Connection:
    """Sends bytes, and reads answers one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take over a connection that is open."""
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes, and wait while the router takes none."""
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> Reply:
        """Read the status and the headers of an answer, and leave its body; a 1xx is an answer, too."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        return Reply(int(lines[0].split()[1]), headers)

    async def reply(self, *, has_body: bool = True) -> Reply:
        """Read an answer; one to HEAD has no body."""
        head = await self.head()
        return Reply(head.status, head.headers, await self._body(head.headers) if has_body else b"")

    async def ask(self, host: str, target: str, method: str = "GET", body: bytes = b"", **headers: str) -> Reply:
        """Send a request and read its answer; the target is sent as it is, as bytes in Latin-1."""
        lines = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body:
            lines["content-length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.send(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        return await self.reply(has_body=method != "HEAD")

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await self._reader.readexactly(int(headers.get("content-length", "0")))
        chunks = []
        while size := int(await self._reader.readline(), 16):
            chunks.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return b"".join(chunks)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """Open a connection to a listener of this machine until the block ends."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
