"""A small model server that a test holds in its hands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from aiohttp import web

from tests.gateway.traffic import LOOPBACK

CHUNK_SECONDS = 0.02
LONGEST_BODY = 64 << 20
LONGEST_PATH = 64 << 10


class Replica:
    """Answers with its colour, and streams until it is told to stop."""

    def __init__(self, colour: str) -> None:
        """Prepare a replica; it listens when :meth:`listening` is entered, on a free port unless it has one."""
        self.colour = colour
        self.port = 0
        self.running = 0
        """Streams that are open now."""
        self.requests = 0
        self.finish = asyncio.Event()
        """Lets all streams come to their end."""

    notices_leavers: ClassVar = False
    """Whether a request ends when its client has left, even while nothing is sent."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Say what is answered where; a replica with more to say comes before these."""
        router.add_route("*", "/stream", self._stream)
        router.add_route("*", "/silent", self._silent)
        router.add_route("*", "/fail", self._fail)
        router.add_route("GET", "/websocket", self._websocket)
        router.add_route("*", "/{path:.*}", self._echo)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Replica"]:
        """Listen on a free port."""
        app = web.Application(client_max_size=LONGEST_BODY)
        self.add_routes(app.router)
        runner = web.AppRunner(
            app, shutdown_timeout=0.1, handler_cancellation=self.notices_leavers, max_line_size=LONGEST_PATH
        )
        await runner.setup()
        site = web.TCPSite(runner, LOOPBACK, self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _echo(self, request: web.Request) -> web.Response:
        self.requests += 1
        await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        told = {"colour": self.colour, "path": request.path, "target": request.raw_path, "headers": headers}
        return web.json_response(told)

    async def _fail(self, _: web.Request) -> web.Response:
        self.requests += 1
        return web.Response(status=503)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        self.running += 1
        try:
            while not self.finish.is_set():
                await response.write(f"data: {self.colour}\n\n".encode())
                await asyncio.sleep(CHUNK_SECONDS)
            await response.write(b"data: [DONE]\n\n")
        finally:
            self.running -= 1
        return response

    async def _silent(self, request: web.Request) -> web.StreamResponse:
        """Begin an answer, and say nothing more for as long as streams run."""
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begins, ")
        await self.finish.wait()
        await response.write(b"ends")
        return response

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{self.colour}: {message.data}")
        return socket
