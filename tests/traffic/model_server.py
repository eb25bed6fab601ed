"""A model server that writes into a ledger what it works on, and holds it in the middle when the test says so."""

from collections.abc import AsyncIterator
from typing import ClassVar

import grpc
from aiohttp import web

from tests.gateway.grpc_replica import Context, GrpcReplica, Methods
from tests.traffic.bodies import Sum, parts
from tests.traffic.ledger import Ledger

COLOUR = "x-served-by"
TOKENS = 40
"""Of an answer token by token, and messages of a conversation."""
HALF = TOKENS // 2


class ClientGoneError(Exception):
    """A client has left in the middle."""


class ModelServer(GrpcReplica):
    """Answers each kind of traffic at an address that ends with the request's number."""

    notices_leavers: ClassVar = True

    def __init__(self, colour: str, ledger: Ledger) -> None:
        """Prepare a replica that shares a ledger."""
        super().__init__(colour)
        self._ledger = ledger

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Answer the kinds of traffic, and all else as other replicas do."""
        router.add_route("*", "/answer/{number}", self._answer)
        router.add_route("*", "/upload/{number}", self._upload)
        router.add_route("*", "/download/{number}", self._download)
        router.add_route("*", "/tokens/{number}", self._tokens)
        router.add_route("*", "/conversation/{number}", self._conversation)
        super().add_routes(router)

    def methods(self) -> Methods:
        """Answer calls, each of which begins with the request's number."""
        return {
            **super().methods(),
            "Answer": grpc.unary_unary_rpc_method_handler(self._grpc_answer),
            "Tokens": grpc.unary_stream_rpc_method_handler(self._grpc_tokens),
            "Conversation": grpc.stream_stream_rpc_method_handler(self._grpc_conversation),
        }

    async def _hold(self, number: str) -> None:
        self._ledger.reach_half(number)
        await self._ledger.may_go_on(number)

    async def _answer(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        with self._ledger.work(number, self.colour):
            body = await request.read()
            await self._hold(number)
            return web.Response(body=body or request.method.encode(), headers={COLOUR: self.colour})

    async def _upload(self, request: web.Request) -> web.Response:
        """Answer with the sum of the body; its middle is where the client says."""
        number = request.match_info["number"]
        with self._ledger.work(number, self.colour):
            came, half = Sum(), int(request.query["half"])
            if not half:
                self._ledger.reach_half(number)
            async for part in request.content.iter_any():
                came.add(part)
                if came.length >= half:
                    self._ledger.reach_half(number)
            return web.Response(text=came.text, headers={COLOUR: self.colour})

    async def _download(self, request: web.Request) -> web.StreamResponse:
        number, size = request.match_info["number"], int(request.query["size"])
        response = web.StreamResponse(headers={COLOUR: self.colour})
        if "chunked" not in request.query:
            response.content_length = size
        with self._ledger.work(number, self.colour):
            await response.prepare(request)
            for part in parts(0, size // 2):
                await response.write(part)
            await self._hold(number)
            for part in parts(size // 2, size):
                await response.write(part)
            await response.write_eof()
        return response

    async def _tokens(self, request: web.Request) -> web.StreamResponse:
        number = request.match_info["number"]
        response = web.StreamResponse(headers={COLOUR: self.colour, "content-type": "text/event-stream"})
        with self._ledger.work(number, self.colour):
            await response.prepare(request)
            for token in range(TOKENS):
                if token == HALF:
                    await self._hold(number)
                await response.write(f"data: {self.colour} {token}\n\n".encode())
            await response.write(b"data: [DONE]\n\n")
            await response.write_eof()
        return response

    async def _conversation(self, request: web.Request) -> web.WebSocketResponse:
        """Answer each message of a WebSocket; the client holds the conversation."""
        number = request.match_info["number"]
        socket = web.WebSocketResponse()
        with self._ledger.work(number, self.colour):
            await socket.prepare(request)
            said = 0
            async for message in socket:
                await socket.send_str(f"{self.colour} {message.data}")
                said += 1
                if said == HALF:
                    self._ledger.reach_half(number)
            if said != TOKENS:
                raise ClientGoneError
        return socket

    async def _grpc_answer(self, request: bytes, _: Context) -> bytes:
        number = request.decode()
        with self._ledger.work(number, self.colour):
            await self._hold(number)
            return self.colour.encode()

    async def _grpc_tokens(self, request: bytes, _: Context) -> AsyncIterator[bytes]:
        number = request.decode()
        with self._ledger.work(number, self.colour):
            for token in range(TOKENS):
                if token == HALF:
                    await self._hold(number)
                yield f"{self.colour} {token}".encode()

    async def _grpc_conversation(self, messages: AsyncIterator[bytes], _: Context) -> AsyncIterator[bytes]:
        number = (await anext(messages)).decode()
        with self._ledger.work(number, self.colour):
            said = 0
            async for message in messages:
                yield self.colour.encode() + b" " + message
                said += 1
                if said == HALF:
                    self._ledger.reach_half(number)
            if said != TOKENS:
                raise ClientGoneError
