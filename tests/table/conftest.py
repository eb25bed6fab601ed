"""Rows of a migrated database, arranged as rollouts and keepers do."""

import pytest_asyncio

from celadon.table.core.engine import Table
from tests.table.rows import Rows


@pytest_asyncio.fixture(loop_scope="session")
async def rows(table: Table) -> Rows:
    """Return empty tables with a keeper that is alive."""
    return await Rows.with_keeper(table)
