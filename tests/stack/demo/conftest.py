"""Model servers of ours as processes, for tests that talk to them."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.stack.demo.model_processes import ModelProcess, running_model_server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def model_server() -> AsyncIterator[ModelProcess]:
    """Run one loaded model server of revision r2 for all tests."""
    async with running_model_server(revision_label="r2", token_interval_seconds=0.01) as server:
        await server.wait_until_loaded()
        yield server
