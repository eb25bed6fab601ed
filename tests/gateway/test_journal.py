"""What routers say on its way into a real table: what it refuses is dropped alone, and clocks are the database's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, tzinfo
from typing import Any, Self

import pytest
import pytest_asyncio
from sqlalchemy import text
from structlog.testing import capture_logs

from celadon.domain.language.names import Epoch, RouterNode
from celadon.gateway import journal as journal_module
from celadon.gateway.journal import TableJournal
from celadon.gateway.load_reports import DrainLoad
from celadon.gateway.metrics import GatewayMetrics
from celadon.table.core.engine import Table
from tests.gateway.router import until
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

NODES = ("edge-1", "edge-2", "edge-3")


@pytest_asyncio.fixture(loop_scope="session")
async def rows(table: Table) -> Rows:
    """Return empty tables."""
    return await Rows.with_keeper(table)


@asynccontextmanager
async def _writing(rows: Rows, name: str = "gateway-1") -> AsyncIterator[tuple[TableJournal, GatewayMetrics]]:
    metrics = GatewayMetrics()
    journal = TableJournal(rows.table, name, metrics, longest_retry_seconds=0.2)
    task = asyncio.create_task(journal.run())
    try:
        yield journal, metrics
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _count(metrics: GatewayMetrics, name: str, **labels: str) -> int:
    return int(metrics.registry.get_sample_value(f"celadon_gateway_{name}_total", labels) or 0)


def _serves(rows: Rows, node: str, epoch: int) -> Callable[[], Any]:
    async def serves() -> bool:
        query = "select count(*) from router_acks where router = :node and epoch >= :epoch"
        return bool(await rows.value(query, node=node, epoch=epoch))

    return serves


async def _refuse_epochs(rows: Rows, node: str) -> None:
    """Let the table refuse what one router acknowledges, as a limit or a constraint would."""
    await rows.sql(f"alter table router_acks add constraint no_{node[-1]} check (router <> '{node}') not valid")


async def _accept_epochs(rows: Rows, node: str) -> None:
    await rows.sql(f"alter table router_acks drop constraint no_{node[-1]}")


async def test_news_that_the_table_refuses_keep_back_no_other_router(rows: Rows) -> None:
    await rows.live()
    for node in NODES:
        await rows.enrol(node)
    await _refuse_epochs(rows, "edge-2")
    try:
        with capture_logs() as logs:
            async with _writing(rows) as (journal, metrics):
                for node in NODES:
                    journal.connected(RouterNode(node), None)
                    journal.acknowledged(RouterNode(node), {"chat": Epoch(1)})
                await until(_serves(rows, "edge-1", 1))
                await until(_serves(rows, "edge-3", 1))
                await until(lambda: _count(metrics, "dropped_news") >= 1)

                journal.acknowledged(RouterNode("edge-3"), {"chat": Epoch(2)})
                await until(_serves(rows, "edge-3", 2))
    finally:
        await _accept_epochs(rows, "edge-2")

    [dropped] = [one for one in logs if one["event"] == "router_news_dropped"]
    assert dropped["router"] == "edge-2"
    assert "no_2" in dropped["why"]
    assert dropped["exc_info"]
    assert _count(metrics, "faults", part="news of routers") == 1


async def test_it_is_written_whether_a_router_takes_limits(rows: Rows) -> None:
    await rows.enrol("edge-1")
    for takes in (False, True):

        async def is_written(takes: bool = takes) -> bool:  # noqa: FBT001
            found: bool = await rows.value("select takes_limits from routers where node = 'edge-1'")
            return found is takes

        async with _writing(rows) as (journal, _):
            journal.connected(RouterNode("edge-1"), None, takes_limits=takes)
            await until(is_written)


async def test_of_a_router_only_what_the_table_refuses_is_dropped(rows: Rows) -> None:
    await rows.live()
    await rows.enrol("edge-2")
    await _refuse_epochs(rows, "edge-2")
    try:
        async with _writing(rows) as (journal, metrics):
            journal.connected(RouterNode("edge-2"), None)
            journal.acknowledged(RouterNode("edge-2"), {"chat": Epoch(1)})
            journal.refused(RouterNode("edge-2"), "no such filter")
            await until(lambda: _count(metrics, "dropped_news") >= 1)
            await until(lambda: _nack(rows, "edge-2"))
    finally:
        await _accept_epochs(rows, "edge-2")

    assert await rows.value("select stream_started_at is not null from routers where node = 'edge-2'")


async def _nack(rows: Rows, node: str) -> bool:
    return bool(await rows.value("select nack from routers where node = :node", node=node))


async def test_what_somebody_must_put_right_is_kept_until_it_is(rows: Rows) -> None:
    await rows.live()
    await rows.enrol("edge-1")
    await rows.sql("alter table router_acks rename to router_acks_elsewhere")
    try:
        with capture_logs() as logs:
            async with _writing(rows) as (journal, metrics):
                journal.acknowledged(RouterNode("edge-1"), {"chat": Epoch(1)})
                await until(lambda: _count(metrics, "table_errors") >= 2)
                await rows.sql("alter table router_acks_elsewhere rename to router_acks")
                await until(_serves(rows, "edge-1", 1))
    finally:
        await rows.sql("alter table if exists router_acks_elsewhere rename to router_acks")

    assert _count(metrics, "dropped_news") == 0
    [told] = [one for one in logs if one["event"] == "router_news_not_written"]
    assert "run 'celadon db upgrade'" in told["why"]


async def test_news_are_kept_while_backends_are_ended(rows: Rows) -> None:
    await rows.live()
    await rows.enrol("edge-1")
    async with _writing(rows) as (journal, metrics):
        async with rows.table.transaction() as holder:
            await holder.execute(text("select * from routers for update"))
            journal.acknowledged(RouterNode("edge-1"), {"chat": Epoch(1)})
            await until(lambda: _end_those_that_wait(rows))
            await until(lambda: _count(metrics, "table_errors") >= 1)
        await until(_serves(rows, "edge-1", 1))

    assert _count(metrics, "dropped_news") == 0


async def _end_those_that_wait(rows: Rows) -> bool:
    query = "select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event_type = 'Lock'"
    return bool(await rows.value(query))


async def test_more_running_requests_than_a_row_holds_are_as_many_as_it_holds(rows: Rows) -> None:
    opened = await rows.live()
    await rows.enrol("edge-1")
    async with _writing(rows) as (journal, metrics):
        journal.loaded(RouterNode("edge-1"), {opened.green: (DrainLoad(2**40, 0), Epoch(1))})
        await until(lambda: _has_load(rows))

    assert await rows.value("select running from router_load") == 2**31 - 1
    assert _count(metrics, "dropped_news") == 0


async def _has_load(rows: Rows) -> bool:
    return bool(await rows.value("select count(*) from router_load"))


async def _is_up_at(rows: Rows, gateway: str) -> bool:
    query = "select count(*) from routers where gateway = :gateway and stream_ended_at is null"
    return bool(await rows.value(query, gateway=gateway))


async def _has_ended(rows: Rows) -> bool:
    return bool(await rows.value("select count(*) from routers where stream_ended_at is not null"))


@pytest.mark.parametrize("wrong_by", [timedelta(hours=-1), timedelta(hours=1)])
async def test_a_router_is_where_it_connected_last_whatever_the_clocks_of_gateways_say(
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    wrong_by: timedelta,
) -> None:
    await rows.live()
    await rows.enrol("edge-1")
    node = RouterNode("edge-1")
    async with _writing(rows, "right") as (right, _):
        right.connected(node, None)
        await until(lambda: _is_up_at(rows, "right"))
    with monkeypatch.context() as patch:
        _set_clock(patch, wrong_by)
        async with _writing(rows, "wrong") as (wrong, _):
            wrong.connected(node, None)
            await until(lambda: _is_up_at(rows, "wrong"))
            wrong.disconnected(node)
            await until(lambda: _has_ended(rows))
    async with _writing(rows, "right") as (right, _):
        right.connected(node, None)
        await until(lambda: _is_up_at(rows, "right"))

    age = await rows.value("select clock_timestamp() - stream_started_at from routers")
    assert timedelta(0) <= age < timedelta(minutes=30)


def _set_clock(patch: pytest.MonkeyPatch, wrong_by: timedelta) -> None:
    """Let what a gateway takes for the present moment differ from the database's."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + wrong_by

    patch.setattr(journal_module, "datetime", Wrong)


async def test_news_that_waited_for_the_table_count_from_when_they_happened(
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await rows.live()
    await rows.enrol("edge-1")
    node = RouterNode("edge-1")
    now = [1000.0]
    monkeypatch.setattr(journal_module, "monotonic", lambda: now[0])
    waiting = TableJournal(rows.table, "waited", GatewayMetrics())
    waiting.connected(node, None)
    now[0] += 600
    async with _writing(rows, "newer") as (newer, _):
        newer.connected(node, None)
        await until(lambda: _is_up_at(rows, "newer"))
    now[0] += 60
    task = asyncio.create_task(waiting.run())
    waiting.acknowledged(node, {"chat": Epoch(1)})
    await until(_serves(rows, "edge-1", 1))
    waiting.disconnected(node)
    waiting.acknowledged(node, {"chat": Epoch(2)})
    await until(_serves(rows, "edge-1", 2))
    task.cancel()

    assert await _is_up_at(rows, "newer")


async def test_the_end_of_a_stream_whose_beginning_was_not_written_yet_is_written(rows: Rows) -> None:
    await rows.enrol("edge-1")
    node = RouterNode("edge-1")
    journal = TableJournal(rows.table, "gateway-1", GatewayMetrics())
    journal.connected(node, None)
    journal.disconnected(node)
    task = asyncio.create_task(journal.run())
    await until(lambda: _has_ended(rows))
    task.cancel()


async def test_routers_that_come_and_go_leave_nothing_in_memory(rows: Rows) -> None:
    await rows.live()
    for node in NODES:
        await rows.enrol(node)
    async with _writing(rows) as (journal, _):
        for node in NODES:
            journal.connected(RouterNode(node), None)
            journal.refused(RouterNode(node), "no such cluster")
        await until(lambda: _is_up_at(rows, "gateway-1"))
        journal.disconnected(RouterNode("edge-1"))
        journal.disconnected(RouterNode("edge-2"))

        await until(lambda: set(journal._written) == {"edge-3"})  # noqa: SLF001 - what is kept is the subject
        assert set(journal._refusals) == {"edge-3"}  # noqa: SLF001
