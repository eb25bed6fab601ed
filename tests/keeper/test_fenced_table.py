"""The keeper's way to the table: what waits for its rows holds up nobody else, and a fault is raised at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from celadon.domain.language.names import Fence
from celadon.keeper import fenced_table
from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.metrics import KeeperMetrics
from celadon.table.core.engine import Table
from celadon.table.core.outages import TableAwayError
from tests.keeper.leases import take_lasting_lease
from tests.provisioners.programs import until

pytestmark = pytest.mark.parts


@pytest_asyncio.fixture(loop_scope="session")
async def fenced(table: Table) -> AsyncIterator[FencedTable]:
    yield FencedTable(table, await take_lasting_lease(table))


async def _deployments(table: Table, *names: str) -> None:
    async with table.transaction() as tx:
        for name in names:
            await tx.execute(
                text("insert into deployments (name, replicas, lifecycle) values (:name, 1, 'pending')"),
                {"name": name},
            )


async def _scale(tx: AsyncSession, _: Fence, name: str, replicas: int = 2) -> None:
    await tx.execute(text("set local lock_timeout = '50ms'"))
    await tx.execute(
        text("update deployments set replicas = :replicas where name = :name"),
        {"name": name, "replicas": replicas},
    )


async def test_changes_whose_rows_somebody_holds_leave_others_a_turn(table: Table, fenced: FencedTable) -> None:
    await _deployments(table, "held", "free")
    async with table.transaction() as holder:
        await holder.execute(text("select * from deployments where name = 'held' for update"))
        waiting = [
            asyncio.create_task(fenced.write(lambda tx, fence: _scale(tx, fence, "held")))
            for _ in range(fenced_table._WRITES_AT_ONCE)  # noqa: SLF001 - as many as have a turn at once
        ]
        # As soon as all of them wait for their rows, another change wants its turn.
        with capture_logs() as logs:
            await until(lambda: sum(one["event"] == "table_not_used" for one in logs) >= len(waiting))
        async with asyncio.timeout(30):
            await fenced.write(lambda tx, fence: _scale(tx, fence, "free"))
        assert not any(one.done() for one in waiting)
    await asyncio.gather(*waiting)


async def test_a_fault_is_raised_and_its_turn_given_back(table: Table, fenced: FencedTable) -> None:
    await _deployments(table, "chat")
    for _ in range(fenced_table._WRITES_AT_ONCE + 1):  # noqa: SLF001 - more than have a turn at once
        with pytest.raises(DBAPIError, match="check constraint"):
            await fenced.write(lambda tx, fence: _scale(tx, fence, "chat", -1))

    await fenced.write(lambda tx, fence: _scale(tx, fence, "chat"))


async def test_a_wrong_statement_is_raised(fenced: FencedTable) -> None:
    async def wrong(tx: AsyncSession) -> None:
        await tx.execute(text("selekt 1"))

    with pytest.raises(DBAPIError, match="syntax error"):
        await fenced.read(wrong)


async def test_a_missing_migration_is_waited_for_and_named(table: Table, fenced: FencedTable) -> None:
    async def read(tx: AsyncSession) -> None:
        await tx.execute(text("select arrives_later from deployments"))

    with capture_logs() as logs:
        reading = asyncio.create_task(fenced.read(read))
        await until(lambda: any(one["event"] == "table_not_used" for one in logs))
        async with table.transaction() as tx:
            await tx.execute(text("alter table deployments add column arrives_later int"))
        try:
            await reading
        finally:
            async with table.transaction() as tx:
                await tx.execute(text("alter table deployments drop column arrives_later"))

    assert "run 'celadon db upgrade'" in logs[0]["error"]


async def test_attempts_that_are_made_again_are_counted(table: Table) -> None:
    lease = await take_lasting_lease(table)
    registry = CollectorRegistry()
    metrics = KeeperMetrics(registry)
    outages = [TableAwayError("the connection was closed"), TimeoutError()]

    async def away_at_first(_: AsyncSession) -> str:
        if outages:
            raise outages.pop()
        return "read"

    fenced = FencedTable(table, lease, metrics.table_errors.inc, first_retry_seconds=0.01)
    assert await fenced.in_turn().read(away_at_first) == "read"
    assert registry.get_sample_value("celadon_keeper_table_errors_total") == 2
