"""The connection to Postgres."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from celadon.table.engine import DatabaseSettings, Table


async def test_a_transaction_that_raises_leaves_nothing(table: Table) -> None:
    async def create_and_fail() -> None:
        async with table.transaction() as tx:
            await tx.execute(text("insert into deployments (name, replicas, lifecycle) values ('chat', 1, 'pending')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await create_and_fail()

    async with table.transaction() as tx:
        assert await tx.scalar(text("select count(*) from deployments")) == 0


async def test_a_transaction_that_the_database_refuses_is_told(table: Table) -> None:
    with pytest.raises(IntegrityError):
        async with table.transaction() as tx:
            await tx.execute(text("insert into deployments (name, replicas, lifecycle) values ('chat', -1, 'pending')"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("statement_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("transaction_timeout", "10s"),
        ("timezone", "UTC"),
        ("application_name", "celadon-settings"),
    ],
)
async def test_every_connection_has_its_settings(database_url: str, setting: str, value: str) -> None:
    async with Table(database_url, "celadon-settings") as table, table.transaction() as tx:
        assert await tx.scalar(text(f"show {setting}")) == value


async def test_a_statement_that_takes_too_long_is_ended_by_the_database(table: Table) -> None:
    async with table.transaction() as tx:
        await tx.execute(text("set local statement_timeout = '50ms'"))
        with pytest.raises(DBAPIError, match="statement timeout"):
            await tx.execute(text("select pg_sleep(10)"))
        await tx.rollback()


def test_the_database_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://celadon@localhost/celadon")

    assert DatabaseSettings().database_url == "postgresql+asyncpg://celadon@localhost/celadon"
