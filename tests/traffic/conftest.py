"""A gateway and a router for the tests of a module, with a deployment of its own for each test."""

from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio

from tests.gateway.conftest import Gateway, free_port, serving
from tests.gateway.router import Router, running_router, until
from tests.gateway.traffic import routing
from tests.traffic.deployment import Deployment, deployed

_names = count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway() -> AsyncIterator[Gateway]:
    """Run a gateway's server."""
    async with serving([], routing(free_port(), free_port())) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def router(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Router]:
    """Run a router that serves what the gateway says."""
    live, preview = gateway.routing.live, gateway.routing.preview
    assert preview is not None
    running = running_router(tmp_path_factory.mktemp("router"), gateway.address, live.port, preview.port)
    async with running as made:
        await until(made.listens)
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def deployment(gateway: Gateway, router: Router) -> AsyncIterator[Deployment]:
    """Run a deployment; what one test leaves behind touches no other."""
    async with deployed(f"model-{next(_names)}", gateway, router) as made:
        yield made
