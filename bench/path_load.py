"""What goes through an Envoy under measurement: a server that answers at once or streams, and a client of it.

``python -m bench.path_load --port PORT`` serves, in a process of its own, so this module imports nothing large.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, cast

HOST: Final = "127.0.0.1"
PATIENCE_SECONDS: Final = 300.0
STREAM_PATH: Final = "/v1/stream"
EVENT_SECONDS: Final = 1.0
CONNECTIONS: Final = 16

_ANSWER_BODY: Final = b'{"id": "chatcmpl-1", "object": "chat.completion", "choices": [{"text": "' + b"a" * 200 + b'"}]}'
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nserver: uvicorn\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_ANSWER_BODY), _ANSWER_BODY)
)
_STREAM_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENT: Final = b"d\r\ndata: token\n\n\r\n"
_REQUEST_BODY: Final = b'{"model": "chat", "messages": [{"role": "user", "content": "' + b"a" * 200 + b'"}]}'
_HEADERS: Final = {
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "authorization": "Bearer sk-0123456789abcdef0123456789abcdef",
    "content-type": "application/json",
    "user-agent": "OpenAI/Python 1.60.0",
    "x-stainless-arch": "x64",
    "x-stainless-async": "false",
    "x-stainless-lang": "python",
    "x-stainless-os": "Linux",
    "x-stainless-runtime": "CPython",
    "content-length": str(len(_REQUEST_BODY)),
}
"""Such as OpenAI's client for Python sends."""


def request(host: str, path: str) -> bytes:
    """Return a request for a completion."""
    headers: Mapping[str, str] = {"host": host, **_HEADERS}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + _REQUEST_BODY


class _Server(asyncio.Protocol):
    """Answers each request whole, at once; one of a stream with an event now and then, for ever."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(_REQUEST_BODY)) >= 0:
            streams = STREAM_PATH.encode() in self._received[:end].partition(b"\r\n")[0]
            self._received = self._received[end + len(_REQUEST_BODY) :]
            self._transport.write(_STREAM_HEAD if streams else _ANSWER)
            if streams:
                self._stream()

    def _stream(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_EVENT)
            asyncio.get_running_loop().call_later(EVENT_SECONDS, self._stream)


class _Connection(asyncio.Protocol):
    """A client's connection, kept open, with one request at a time."""

    def __init__(self) -> None:
        self._answered: asyncio.Future[float] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or self._answered is None or self._answered.done():
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self._answered.set_exception(RuntimeError(f"refused: {head.decode()}"))
        elif body == _ANSWER_BODY or body.startswith(_EVENT):
            self._received = b""
            self._answered.set_result(time.perf_counter())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionResetError("closed before the answer"))

    async def ask(self, what: bytes) -> float:
        """Send a request; return the milliseconds until its answer was there, or the first event of its stream."""
        self._answered = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._transport.write(what)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return (await self._answered - began) * 1000

    def close(self) -> None:
        self._transport.abort()


@asynccontextmanager
async def _connected(port: int, count: int) -> AsyncIterator[list[_Connection]]:
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            _, connection = await asyncio.get_running_loop().create_connection(_Connection, HOST, port)
            stack.callback(connection.close)
            opened.append(connection)
        yield opened


async def send_steadily(port: int, what: bytes, requests: int, per_second: float) -> list[float]:
    """Send so many requests at a steady rate, which do not wait for one another; return what each took, in ms."""
    async with _connected(port, CONNECTIONS) as connections, asyncio.TaskGroup() as group:
        free = asyncio.Queue[_Connection]()
        for connection in connections:
            free.put_nowait(connection)

        async def ask(connection: _Connection) -> float:
            try:
                return await connection.ask(what)
            finally:
                free.put_nowait(connection)

        due, sent = time.perf_counter(), []
        for _ in range(requests):
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent.append(group.create_task(ask(await free.get())))
            due += 1 / per_second
        return [await one for one in sent]


async def send_at_full_speed(port: int, what: bytes, requests: int) -> None:
    """Send so many requests over a few connections, on each the next one as soon as the one before is answered."""

    async def ask(connection: _Connection) -> None:
        for _ in range(requests // CONNECTIONS):
            await connection.ask(what)

    async with _connected(port, CONNECTIONS) as connections, asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(ask(connection))


@asynccontextmanager
async def open_streams(port: int, what: bytes, count: int) -> AsyncIterator[None]:
    """Hold so many streams open, each of which has brought its first event."""
    async with _connected(port, count) as connections:
        for connection in connections:
            await connection.ask(what)
        yield


async def serve(port: int) -> None:
    """Serve until the process is killed."""
    server = await asyncio.get_running_loop().create_server(_Server, HOST, port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
