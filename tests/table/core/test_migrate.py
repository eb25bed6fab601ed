"""Bringing a database to the schema of this version."""

import asyncio
import uuid

import pytest_asyncio
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from celadon.table.core.migrate import upgrade
from celadon.table.core.schema_revision import MIGRATIONS, current_revision, known_revisions, newest_revision


@pytest_asyncio.fixture(loop_scope="session")
async def empty_database_url(postgres_url: str) -> str:
    """Return the address of a database without any table."""
    name = f"empty_{uuid.uuid4().hex}"
    engine = create_async_engine(postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"create database {name}"))
    await engine.dispose()
    return make_url(postgres_url).set(database=name).render_as_string(hide_password=False)


def test_the_known_revisions_are_those_that_migrations_name() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    told = [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()]

    assert list(reversed(told)) == list(known_revisions())


async def test_an_empty_database_has_no_revision(empty_database_url: str) -> None:
    assert await current_revision(empty_database_url) is None


async def test_an_upgrade_brings_the_newest_revision(empty_database_url: str) -> None:
    assert await upgrade(empty_database_url) == newest_revision()
    assert await current_revision(empty_database_url) == newest_revision()


async def test_an_upgrade_of_an_upgraded_database_changes_nothing(database_url: str) -> None:
    assert await upgrade(database_url) == newest_revision()


async def test_processes_that_upgrade_at_once_do_so_one_after_the_other(empty_database_url: str) -> None:
    revisions = await asyncio.gather(*(upgrade(empty_database_url) for _ in range(3)))

    assert set(revisions) == {newest_revision()}
