"""Whole running parts for tests: a Postgres server, its tables, and a Temporal server whose time can be skipped."""

import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, settings
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from temporalio.testing import WorkflowEnvironment

from bench.time_skipping import time_skipping_temporal
from celadon.stack.postgres import running_postgres
from celadon.table.core.engine import Table
from celadon.table.core.migrate import upgrade
from celadon.table.core.models import Base
from tests.provisioners.own_ports import choose_own_ports

# No test asserts how long something takes: machines are shared.
settings.register_profile("celadon", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("celadon")

# gRPC restarts its threads in a forked child that only means to exec, and can end it while Python closes its files.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

PATIENCE_SECONDS: Final = 60.0
"""How long tests wait for the table: no machine that stands still for a while breaks a transaction that it holds up."""

EMPTIED: Final = text(
    "do $$ begin set local session_replication_role = replica; "
    + "".join(f"{table.delete()}; " for table in Base.metadata.tables.values())
    + "end $$"
)
"""Empties all tables in one statement, in any order: most tests begin with it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Histories and snapshots are recorded anew, and invariants searched for long, only when somebody says so."""
    parser.addoption("--record-histories", action="store_true", help="write the histories that replay tests read")
    parser.addoption("--stories", type=int, default=0, help="search the invariants with so many new stories")
    parser.addoption("--record-snapshots", action="store_true", help="write what commands print, which tests compare")


@pytest.fixture(scope="session", autouse=True)
def own_ports() -> Iterator[None]:
    """Keep the replicas of tests that run at once in other processes away from the ports of this one's."""
    with pytest.MonkeyPatch.context() as patch:
        choose_own_ports(patch)
        yield


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Let no test that says where its logs go, as commands do, choose that for the next one."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def reachable_directory() -> Iterator[Path]:
    """Return a directory that every user can pass through, which pytest's own temporary ones are not.

    Postgres of a test run as root lives in it as another user.
    """
    directory = Path(tempfile.mkdtemp(prefix="celadon-tests-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url(reachable_directory: Path) -> AsyncIterator[str]:
    """Run one Postgres server for all tests and return the address of its database ``celadon``."""
    data_dir = reachable_directory / "server"
    data_dir.mkdir(mode=0o711)
    async with running_postgres(data_dir) as url:
        yield url


async def _execute(server_url: str, statement: str) -> None:
    """Execute what no transaction can hold, such as ``create database``."""
    engine = create_async_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()


def _database(server_url: str, name: str) -> str:
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_template(postgres_url: str) -> str:
    """Migrate one database with Alembic, for others to be copied from; return its name."""
    name = "template_celadon"
    await _execute(postgres_url, f"create database {name}")
    await upgrade(_database(postgres_url, name))
    return name


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def database_url(postgres_url: str, migrated_template: str) -> str:
    """Return the address of a migrated database that only one module of tests uses; it goes with the server.

    Nobody pulls the plug of a test's database, so its commits wait for no disk.
    """
    name = f"celadon_{uuid.uuid4().hex}"
    await _execute(postgres_url, f"create database {name} template {migrated_template}")
    await _execute(postgres_url, f"alter database {name} set synchronous_commit = off")
    return _database(postgres_url, name)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def table_of_module(database_url: str) -> AsyncIterator[Table]:
    """Return the tables of ``database_url``; tests take ``table``, which is empty."""
    async with Table(database_url, "celadon-tests", patience_seconds=PATIENCE_SECONDS) as table:
        yield table


@pytest_asyncio.fixture(loop_scope="session")
async def table(table_of_module: Table) -> Table:
    """Return the tables of ``database_url``, emptied for each test; identities go on rising."""
    async with table_of_module.transaction() as tx:
        await tx.execute(EMPTIED)
    return table_of_module


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal_env() -> AsyncIterator[WorkflowEnvironment]:
    """Run one Temporal server for all tests; its time stands still for a workflow until a test moves it forward."""
    async with time_skipping_temporal() as environment:
        yield environment
