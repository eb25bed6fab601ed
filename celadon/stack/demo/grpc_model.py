"""gRPC beside the HTTP of a demonstration's replica, and a client of it: one method, without generated messages.

``/celadon.demo.Model/Generate`` takes how many words are wanted, as text, and answers with them; the revision's label
stands in the initial metadata.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import grpc
import grpc.aio

from celadon.stack.demo.model_server import REVISION_HEADER

SERVICE: Final = "celadon.demo.Model"
METHOD: Final = "Generate"

Generate = Callable[[int], Awaitable[str | None]]
"""Returns so many words, or ``None`` while the model loads."""

_Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"

_CLIENT_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    # What a router cannot try again is lost, and is to be seen.
    ("grpc.enable_retries", 0),
)


@asynccontextmanager
async def serving_grpc(
    address: str, revision_label: str, generate: Generate, grace_seconds: float
) -> AsyncIterator[None]:
    """Serve gRPC on ``host:port`` until the block ends, then let running calls end, for so many seconds at most."""

    async def answer(request: bytes, context: _Context) -> bytes:
        await context.send_initial_metadata(((REVISION_HEADER, revision_label),))
        if not request.isdigit():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "send how many words are wanted, as text")
        words = await generate(int(request))
        if words is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the model is still loading")
        return (words or "").encode()

    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(grace_seconds)


class GrpcModelClient:
    """A client that keeps one connection to a router."""

    def __init__(self, router: str, deployment: str) -> None:
        """Prepare a channel to ``host:port`` of a router, for a deployment; inside a running event loop."""
        options = (("grpc.default_authority", deployment), *_CLIENT_OPTIONS)
        self._channel = grpc.aio.insecure_channel(router, options=options)
        self._generate: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"/{SERVICE}/{METHOD}"
        )

    async def generate(self, words: int, timeout_seconds: float, begun: Callable[[str], None]) -> str | None:
        """Ask for so many words; return what is wrong with the answer, or ``None`` when it holds them.

        ``begun`` is called with the label of the revision that answers, once the answer has begun.
        """
        call = self._generate(str(words).encode(), timeout=timeout_seconds, wait_for_ready=True)
        try:
            metadata = dict(await call.initial_metadata())
            if REVISION_HEADER in metadata:
                begun(str(metadata[REVISION_HEADER]))
            answer = await call
        except grpc.aio.AioRpcError as error:
            return f"gRPC {error.code().name}: {error.details()}"
        return None if len(answer.split()) == words else f"{words} words were asked for: {answer[:120]!r}"

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()
