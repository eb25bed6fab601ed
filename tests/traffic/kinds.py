"""The kinds of traffic: what a client of each does from the beginning of a request to its end.

Each takes the whole of an answer, checks that nothing of it is missing or doubled, and returns the colour that it came
from. Where the ledger holds a request, it stops in its middle: part of it has passed in either direction that it uses.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Final, TypeAlias

import grpc.aio
from aiohttp import ClientResponse, ClientSession

from tests.gateway.grpc_replica import SERVICE, Chat, GrpcClient, finish, say
from tests.traffic.bodies import PART, SMALL, Sum, parts, sum_of
from tests.traffic.connection import connected
from tests.traffic.ledger import Ledger
from tests.traffic.model_server import COLOUR, HALF, TOKENS


@dataclass(frozen=True)
class Address:
    """Where a client's requests go: to a deployment by its host name, over connections that are kept."""

    client: ClientSession
    calls: GrpcClient
    """Of gRPC, for the same host name."""
    base: str
    """The beginning of every URL."""
    port: int
    """Of the router itself, for what no client library sends."""
    host: str
    ledger: Ledger
    size: int = SMALL
    """Of bodies, in bytes."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {"host": self.host}

    @asynccontextmanager
    async def open(self, path: str, method: str = "GET", body: bytes | None = None) -> AsyncIterator[ClientResponse]:
        """Open an answer."""
        data = None if body is None else BytesIO(body)
        async with self.client.request(method, self.base + path, headers=self.headers, data=data) as response:
            yield response


Kind: TypeAlias = Callable[[Address, str], Coroutine[None, None, str]]


def answered(method: str, body: bytes | None = None) -> Kind:
    """Return the kind of requests that are answered at once, by method."""

    async def ask(to: Address, number: str) -> str:
        async with to.open(f"/answer/{number}", method, body) as response:
            came = await response.read()
            assert response.status == 200, came
            told = body or method.encode()
            assert (came, response.headers["content-length"]) == (
                b"" if method == "HEAD" else told,
                str(len(told)),
            )
            return response.headers[COLOUR]

    return ask


async def tokens(to: Address, number: str) -> str:
    """Read an answer token by token (SSE)."""
    async with to.open(f"/tokens/{number}") as response:
        assert response.status == 200
        colour = response.headers[COLOUR]
        came = [line.decode().strip() async for line in response.content]
    assert came[::2] == [*(f"data: {colour} {token}" for token in range(TOKENS)), "data: [DONE]"]
    return colour


async def websocket(to: Address, number: str) -> str:
    """Say something again and again by WebSocket, and hear an answer to each."""
    colours = set()
    async with to.client.ws_connect(f"{to.base}/conversation/{number}", headers=to.headers) as socket:
        for message in range(TOKENS):
            if message == HALF:
                await to.ledger.may_go_on(number)
            await socket.send_str(str(message))
            colour, _, echo = (await socket.receive_str()).partition(" ")
            colours.add(colour)
            assert echo == str(message)
    return _only(colours)


async def unary(to: Address, number: str) -> str:
    """Call by gRPC."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = to.calls.channel.unary_unary(f"/{SERVICE}/Answer")
    return (await call(number.encode())).decode()


async def server_stream(to: Address, number: str) -> str:
    """Read a stream of gRPC."""
    call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = to.calls.channel.unary_stream(f"/{SERVICE}/Tokens")
    came = [message.decode().split(" ") async for message in call(number.encode())]
    assert [int(token) for _, token in came] == list(range(TOKENS))
    return _only({colour for colour, _ in came})


async def bidi_stream(to: Address, number: str) -> str:
    """Say something again and again in one call of gRPC, and hear an answer to each."""
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
    method = to.calls.channel.stream_stream(f"/{SERVICE}/Conversation")
    call = method()
    try:
        return await _converse(call, to, number)
    finally:
        call.cancel()


async def _converse(call: Chat, to: Address, number: str) -> str:
    await call.write(number.encode())
    colours = set()
    for message in range(TOKENS):
        if message == HALF:
            await to.ledger.may_go_on(number)
        colour, _, echo = (await say(call, str(message))).partition(" ")
        colours.add(colour)
        assert echo == str(message)
    assert await finish(call) is grpc.StatusCode.OK
    return _only(colours)


def upload(*, chunked: bool) -> Kind:
    """Return the kind of requests with a body, which says its length or does not."""

    async def send(to: Address, number: str) -> str:
        async def body() -> AsyncIterator[bytes]:
            for part in parts(0, to.size // 2):
                yield part
            await to.ledger.may_go_on(number)
            for part in parts(to.size // 2, to.size):
                yield part

        headers = to.headers | ({} if chunked else {"content-length": str(to.size)})
        # Some of what a client has sent may wait in buffers on its way until more comes.
        url = f"{to.base}/upload/{number}?half={PART}"
        async with to.client.post(url, data=body(), headers=headers) as response:
            assert (response.status, await response.text()) == (200, sum_of(to.size).text)
            return response.headers[COLOUR]

    return send


def download(*, chunked: bool) -> Kind:
    """Return the kind of answers with a body, which says its length or does not."""

    async def receive(to: Address, number: str) -> str:
        query = f"size={to.size}" + ("&chunked" if chunked else "")
        async with to.open(f"/download/{number}?{query}") as response:
            assert response.status == 200
            assert response.headers.get("content-length") == (None if chunked else str(to.size))
            came = Sum()
            async for part in response.content.iter_any():
                came.add(part)
            assert came == sum_of(to.size)
            return response.headers[COLOUR]

    return receive


async def expecting(to: Address, number: str) -> str:
    """Send a body once the router has said that it may be sent (``Expect: 100-continue``)."""
    async with connected(to.port) as connection:
        head = f"POST /upload/{number}?half=0 HTTP/1.1\r\nhost: {to.host}\r\ncontent-length: {to.size}\r\n"
        await connection.send(f"{head}expect: 100-continue\r\n\r\n".encode())
        assert (await connection.head()).status == 100
        await to.ledger.may_go_on(number)
        for part in parts(0, to.size):
            await connection.send(part)
        reply = await connection.reply()
        assert (reply.status, reply.body.decode()) == (200, sum_of(to.size).text)
        return reply.headers[COLOUR]


def _only(colours: set[str]) -> str:
    """Return the colour of an exchange; raises where it had more than one."""
    [colour] = colours
    return colour


KINDS: Final[dict[str, Kind]] = {
    "GET": answered("GET"),
    "HEAD": answered("HEAD"),
    "OPTIONS": answered("OPTIONS"),
    "POST": answered("POST", b'{"prompt": "Why?"}'),
    "SSE": tokens,
    "WebSocket": websocket,
    "gRPC unary": unary,
    "gRPC server stream": server_stream,
    "gRPC bidi stream": bidi_stream,
    "upload": upload(chunked=False),
    "chunked upload": upload(chunked=True),
    "download": download(chunked=False),
    "chunked download": download(chunked=True),
    "Expect": expecting,
}
