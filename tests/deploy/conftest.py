"""Databases and a Temporal server for what is started out of deploy/."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from celadon.stack.temporal_server import running_temporal


@pytest_asyncio.fixture(loop_scope="session")
async def empty_database_url(postgres_url: str) -> str:
    """Return the address of a database without tables."""
    name = f"deploy_{uuid.uuid4().hex}"
    engine = create_async_engine(postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"create database {name}"))
    await engine.dispose()
    return make_url(postgres_url).set(database=name).render_as_string(hide_password=False)


@pytest_asyncio.fixture(loop_scope="session")
async def temporal_address(tmp_path: Path) -> AsyncIterator[str]:
    """Run a Temporal server that knows nothing of Celadon."""
    directory = tmp_path / "temporal"
    directory.mkdir()
    async with running_temporal(directory) as address:
        yield address
