"""A receiver of notifications on loopback that answers as a test's case says."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

DEADLINE_SECONDS = 90.0


@dataclass(frozen=True)
class Received:
    """One request."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The notification's id."""
        return self.headers.get("webhook-id", "")

    @property
    def content(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """What a CloudEvent tells."""
        return str(self.content["type"]).rpartition(".")[2]


@dataclass
class Receiver:
    """What was received, and what is answered: the answers in their order, and then 204."""

    url: str = ""
    answers: list[web.Response] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    hangs: bool = False
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        """Take one request down."""
        self.received.append(Received(dict(request.headers.items()), await request.read()))
        async with self.news:
            self.news.notify_all()
        if self.hangs:
            await asyncio.Event().wait()
        return self.answers.pop(0) if self.answers else web.Response(status=204)

    async def until(self, count: int) -> list[Received]:
        """Wait until so many requests came."""
        async with asyncio.timeout(DEADLINE_SECONDS), self.news:
            await self.news.wait_for(lambda: len(self.received) >= count)
        return self.received


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    """Run a receiver until the block ends."""
    receiver = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()
