"""Envoy from its package."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from celadon.domain.language.names import RouterNode
from celadon.gateway.enrolling import RouterFiles
from celadon.stack.child_log import ChildLog
from celadon.stack.errors import ChildFailedError
from celadon.stack.probes import answers_ok
from celadon.stack.process import ChildProcess
from celadon.stack.router import ADMIN_URL, router_spec
from tests.gateway.conftest import free_port, free_socket, serving
from tests.gateway.traffic import before_switch, routing


@asynccontextmanager
async def started(bootstrap: Path, admin: Path, directory: Path) -> AsyncIterator[ChildProcess]:
    """Start an Envoy as the stack does, until the block ends."""
    router = await ChildProcess.start(router_spec(bootstrap, admin), ChildLog(directory / "router.log"))
    try:
        yield router
    finally:
        await router.stop()


async def test_is_ready_when_a_gateway_has_told_it_its_routes(tmp_path: Path) -> None:
    admin, gateway = free_socket().path, free_socket()
    files = RouterFiles(RouterNode("local"), tmp_path / "files", [gateway], admin)
    files.write(issued=None)
    async with (
        serving([before_switch(1, [1], [2])], routing(free_port(), free_port()), gateway),
        started(files.bootstrap, admin, tmp_path) as router,
    ):
        await router.until_ready()
        await answers_ok(f"{ADMIN_URL}/ready", admin)()


async def test_a_bootstrap_that_it_refuses_is_shown_with_its_reason(tmp_path: Path) -> None:
    bootstrap = tmp_path / "envoy.json"
    bootstrap.write_text('{"nonsense": 1}')
    async with started(bootstrap, tmp_path / "admin.sock", tmp_path) as router:
        with pytest.raises(ChildFailedError, match="router ended before it was ready") as failure:
            await router.until_ready()
    assert any("nonsense" in line for line in failure.value.last_lines)
