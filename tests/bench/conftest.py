"""One stack for all benches."""

from collections.abc import AsyncIterator

import pytest_asyncio

from bench.line import Line, running_line


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def line() -> AsyncIterator[Line]:
    """Run one stack with two routers; each bench uses deployments of its own."""
    async with running_line(routers=2) as opened:
        yield opened
