"""Servers that know their prefix work by path: FastAPI behind uvicorn, behind the real Envoy."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI, Request

from celadon.gateway.routing import Routing
from tests.gateway.conftest import router_of
from tests.gateway.router import until
from tests.gateway.traffic import LOOPBACK

pytestmark = pytest.mark.parts


def application() -> FastAPI:
    """Return an application that tells the address under which it was asked."""
    made = FastAPI()

    @made.get("/items/")
    def items(request: Request) -> dict[str, str]:
        return {"url": str(request.url_for("items"))}

    return made


@asynccontextmanager
async def running(root_path: str) -> AsyncIterator[int]:
    """Serve an application with a prefix on the port that is yielded."""
    listening = socket.create_server((LOOPBACK, 0))
    configuration = uvicorn.Config(application(), root_path=root_path, log_level="warning", lifespan="off")
    server = uvicorn.Server(configuration)
    serve = asyncio.create_task(server.serve([listening]))
    try:
        await until(lambda: server.started)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await serve
        listening.close()


async def test_a_server_that_knows_its_prefix_makes_links_and_redirects_that_work(
    ports: Routing, tmp_path: Path
) -> None:
    async with running("/chat") as port, router_of(ports, tmp_path, port) as router:
        origin = f"{LOOPBACK}:{router.live}"

        linked = await router.ask("/chat/items/", origin)
        assert linked.json == {"url": f"http://{origin}/chat/items/"}

        redirected = await router.ask("/chat/items", origin)  # the client follows
        assert (redirected.status, redirected.json) == (200, linked.json)

        documented = await router.ask("/chat/openapi.json", origin)
        assert documented.json["servers"] == [{"url": "/chat"}]
