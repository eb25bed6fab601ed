"""A model server that speaks HTTP/1.1 on one port and gRPC on another, and a client for it behind a router."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
import grpc.aio

from tests.gateway.replica import Replica
from tests.gateway.traffic import LOOPBACK

SERVICE = "test.Model"
GENERATE = f"/{SERVICE}/Generate"
CHAT = f"/{SERVICE}/Chat"
SLEEP = f"/{SERVICE}/Sleep"

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Methods: TypeAlias = "dict[str, grpc.RpcMethodHandler[bytes, bytes]]"
Chat: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"


class GrpcReplica(Replica):
    """Answers with its colour by gRPC too, and echoes every message of a chat after it."""

    def __init__(self, colour: str, **options: int) -> None:
        """Prepare a replica; ``options`` are those of gRPC's server, with underscores for dots after ``grpc``."""
        super().__init__(colour)
        self.options = [(f"grpc.{name}", value) for name, value in options.items()]
        self.grpc_port = 0
        self.calls: Counter[bytes] = Counter()
        """How often each request has come."""
        self.chats = 0
        """Chats that are open now."""
        self.metadata: Mapping[str, str] = {}
        """Of the last request."""
        self.cancelled = 0
        self._server = grpc.aio.server()

    def methods(self) -> Methods:
        """Return what is answered by gRPC."""
        return {
            "Generate": grpc.unary_unary_rpc_method_handler(self._generate),
            "Chat": grpc.stream_stream_rpc_method_handler(self._chat),
            "Sleep": grpc.unary_unary_rpc_method_handler(self._sleep),
        }

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["GrpcReplica"]:
        """Listen on free ports."""
        async with super().listening():
            server = self._server = grpc.aio.server(options=self.options)
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self.methods()),))
            self.grpc_port = server.add_insecure_port(f"{LOOPBACK}:{self.grpc_port}")
            await server.start()
            try:
                yield self
            finally:
                await server.stop(None)

    async def fail(self) -> None:
        """Break off all calls."""
        await self._server.stop(None)

    async def _generate(self, request: bytes, context: Context) -> bytes:
        self.calls[request] += 1
        self.metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        return self.colour.encode()

    async def _chat(self, messages: AsyncIterator[bytes], _: Context) -> AsyncIterator[bytes]:
        self.chats += 1
        try:
            async for message in messages:
                yield self.colour.encode() + b": " + message
        finally:
            self.chats -= 1

    async def _sleep(self, request: bytes, context: Context) -> bytes:
        self.calls[request] += 1
        try:
            remaining = context.time_remaining()
            await asyncio.sleep(float(request))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return str(remaining).encode()


@dataclass
class GrpcClient:
    """A client of a router that keeps one connection."""

    channel: grpc.aio.Channel
    metadata: tuple[tuple[str, str], ...] = field(default=())

    async def generate(self, request: bytes = b"", timeout: float | None = 60) -> str:
        """Return the colour of the replica that answers."""
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(GENERATE)
        return (await call(request, timeout=timeout, metadata=self.metadata)).decode()

    async def sleep(self, seconds: float, timeout: float | None = 60) -> bytes:
        """Return how much of its deadline a request had left when it came to the replica, in seconds."""
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(SLEEP)
        return await call(str(seconds).encode(), timeout=timeout, metadata=self.metadata)

    def chat(self) -> Chat:
        """Open a stream in both directions."""
        call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self.channel.stream_stream(CHAT)
        return call(metadata=self.metadata)


async def say(chat: Chat, message: str) -> str:
    """Say something in a chat and return what is answered."""
    await chat.write(message.encode())
    answer = await chat.read()
    assert isinstance(answer, bytes), answer
    return answer.decode()


async def finish(chat: Chat) -> grpc.StatusCode:
    """End a chat; return its status."""
    await chat.done_writing()
    return await chat.code()


@asynccontextmanager
async def grpc_client(port: int, host: str = "chat", **metadata: str) -> AsyncIterator[GrpcClient]:
    """Open a client of the listener on a port, for the deployment of this host name."""
    options = (("grpc.default_authority", host), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
    dashed = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"{LOOPBACK}:{port}", options=options))
        yield GrpcClient(channel, dashed)
