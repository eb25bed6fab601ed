"""A replica that writes down what it runs, so that a request lost with a killed replica can be told from any other.

A script of the standard library alone, because dozens of them start at once on a small machine. It speaks as much HTTP
as the load and Envoy need, and streams answers as the demonstration's model server does. Each request that carries
``x-load-request`` is written to ``JOURNAL/ROUTE`` when it begins and when it has ended.

A gate is a file. Until ``--starts-with`` exists the process ends at once, until ``--healthy-with`` exists its health
check fails, and a request for ``/hold?gate=FILE`` is answered until that file exists.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

POLL_SECONDS = 0.05
LONGEST_HOLD_SECONDS = 300.0
TOKEN_SECONDS = 0.1
ROUTE_VARIABLE = "CELADON_ROUTE"
REQUEST_HEADER = "x-load-request"


@dataclass
class Request:
    """A request that has been read whole."""

    target: str
    number: str
    body: bytes


class Journal:
    """What this replica runs, on disk before and after."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def began(self, number: str) -> None:
        os.write(self._descriptor, f"began {number}\n".encode())

    def ended(self, number: str) -> None:
        os.write(self._descriptor, f"ended {number}\n".encode())


class Server:
    """Answers one connection after the other, and keeps count for an orderly end."""

    def __init__(self, label: str, healthy_with: Path | None, journal: Journal) -> None:
        self._label = label
        self._healthy_with = healthy_with
        self._journal = journal
        self._running = 0
        self._stopping = False
        self._changed = asyncio.Condition()

    async def serve(self, port: int) -> None:
        """Serve until SIGTERM, then finish what runs."""
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        await stop.wait()
        self._stopping = True
        server.close()
        async with self._changed:
            await self._changed.wait_for(lambda: not self._running)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not self._stopping and (request := await _read(reader)) is not None:
                await self._run(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _run(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self._running += 1
        if request.number:
            self._journal.began(request.number)
        try:
            await self._answer(request, writer)
            if request.number:
                self._journal.ended(request.number)
        finally:
            async with self._changed:
                self._running -= 1
                self._changed.notify_all()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        target = urlsplit(request.target)
        match target.path:
            case "/health":
                healthy = self._healthy_with is None or self._healthy_with.exists()
                await self._plain(writer, {"healthy": healthy}, HTTPStatus.OK if healthy else HTTPStatus(503))
            case "/hold":
                await self._hold(writer, Path(parse_qs(target.query)["gate"][0]))
            case "/v1/chat/completions":
                wanted = json.loads(request.body)
                if wanted.get("stream"):
                    await self._stream(writer, wanted["max_tokens"])
                else:
                    await asyncio.sleep((wanted["max_tokens"] - 1) * TOKEN_SECONDS)
                    await self._plain(writer, {"choices": [self._label]}, HTTPStatus.OK)
            case _:
                await self._plain(writer, {"revision": self._label}, HTTPStatus.OK)

    async def _plain(self, writer: asyncio.StreamWriter, answer: object, status: HTTPStatus) -> None:
        body = json.dumps(answer).encode()
        writer.write(self._head(status, f"content-length: {len(body)}") + body)
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, tokens: int) -> None:
        writer.write(self._head(HTTPStatus.OK, "transfer-encoding: chunked"))
        for _ in range(tokens):
            await _chunk(writer, b'data: {"choices": []}\n\n')
            await asyncio.sleep(TOKEN_SECONDS)
        await _chunk(writer, b"data: [DONE]\n\n")
        await _chunk(writer, b"")

    async def _hold(self, writer: asyncio.StreamWriter, gate: Path) -> None:
        writer.write(self._head(HTTPStatus.OK, "transfer-encoding: chunked"))
        await _chunk(writer, b"held\n")
        async with asyncio.timeout(LONGEST_HOLD_SECONDS):
            while not gate.exists():  # noqa: ASYNC110, ASYNC240 - a file tells nobody
                await asyncio.sleep(POLL_SECONDS)
        await _chunk(writer, b"done\n")
        await _chunk(writer, b"")

    def _head(self, status: HTTPStatus, framing: str) -> bytes:
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"x-model-revision: {self._label}",
            "content-type: text/plain",
            framing,
        )
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """Read a request; nothing when the connection ends instead."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(fields.get("content-length", "0")))
    return Request(target=head[0].split(" ")[1], number=fields.get(REQUEST_HEADER, ""), body=body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def _chunk(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(content), content))
    await writer.drain()


def main() -> None:
    """Serve on the port that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--starts-with", type=Path)
    parser.add_argument("--healthy-with", type=Path)
    options = parser.parse_args()
    if options.starts_with is not None and not options.starts_with.exists():
        sys.exit(f"{options.starts_with} does not exist yet")
    journal = Journal(options.journal / os.environ[ROUTE_VARIABLE])
    asyncio.run(Server(options.label, options.healthy_with, journal).serve(options.port))


if __name__ == "__main__":
    main()
