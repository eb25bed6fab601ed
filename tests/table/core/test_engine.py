"""The connection to Postgres."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from celadon.table.core.engine import Table


async def test_a_transaction_that_raises_leaves_nothing(table: Table) -> None:
    async def create_and_fail() -> None:
        async with table.transaction() as tx:
            await tx.execute(text("insert into deployments (name, replicas, lifecycle) values ('chat', 1, 'pending')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await create_and_fail()

    async with table.transaction() as tx:
        assert await tx.scalar(text("select count(*) from deployments")) == 0


async def test_statements_of_a_reader_stand_alone(table: Table) -> None:
    async with table.transaction() as tx:
        begun = [await tx.scalar(text("select now()")) for _ in range(2)]
    async with table.reading() as tx:
        alone = [await tx.scalar(text("select now()")) for _ in range(2)]

    assert begun[0] == begun[1]
    assert alone[0] < alone[1]


async def test_a_reader_leaves_its_connection_as_it_was(database_url: str) -> None:
    async with Table(database_url, "celadon-reader", pool_size=1) as one:
        async with one.reading() as tx:
            await tx.scalar(text("select 1"))
        async with one.transaction() as tx:
            begun = [await tx.scalar(text("select now()")) for _ in range(2)]

    assert begun[0] == begun[1]


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


async def test_a_connection_that_was_lost_while_nobody_used_it_is_not_lent(database_url: str, table: Table) -> None:
    async with Table(database_url, "celadon-lost", pool_size=1) as lost:
        async with lost.transaction() as tx:
            first = await tx.scalar(text("select pg_backend_pid()"))
        async with table.transaction() as tx:
            # Returns once that connection's process has ended.
            assert await tx.scalar(text("select pg_terminate_backend(:pid, 60000)"), {"pid": first})

        async with lost.transaction() as tx:
            assert await tx.scalar(text("select pg_backend_pid()")) != first
