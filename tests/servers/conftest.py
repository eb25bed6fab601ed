"""A whole stack for the model servers."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from celadon.stack.addresses import StackAddresses
from tests.stack.shared_stack import shared_stack


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StackAddresses]:
    """Run one stack for all model servers."""
    async with shared_stack(tmp_path_factory.getbasetemp()) as addresses:
        yield addresses
