"""Writers of routers lock them in one order: real transactions that cross wait for each other, and both succeed."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.names import Epoch, RouterNode
from celadon.domain.language.states import Channel
from celadon.table.core.author import Author
from celadon.table.routers.enrolments import NewEnrolment, enrol_router
from celadon.table.routers.reports import lock_for_news, router_acknowledged, router_seen
from celadon.table.routers.router_admin import forget_router
from tests.table.locks import until_somebody_waits
from tests.table.rows import Rows

ANN = Author(by="ann", door=Channel.CLI, reason="scaled in")

Writer = Callable[[AsyncSession], Awaitable[object]]


async def _stored_in_reverse(rows: Rows) -> None:
    """Enrol two routers so that a scan of the table meets the second one first."""
    await rows.enrol("edge-2")
    await rows.enrol("edge-1")


async def _journal(rows: Rows, first_is_written: asyncio.Event, go_on: asyncio.Event) -> None:
    """Write news of both routers as a gateway's journal does, with a pause between them."""
    async with rows.table.transaction() as tx:
        await lock_for_news(tx, ["edge-1", "edge-2"], ["chat", "other"])
        await router_acknowledged(tx, "edge-1", {"chat": Epoch(1)})
        first_is_written.set()
        await go_on.wait()
        await router_acknowledged(tx, "edge-2", {"chat": Epoch(1)})


async def _seen(tx: AsyncSession) -> None:
    await router_seen(tx, ["edge-1", "edge-2"])


async def _forget(tx: AsyncSession) -> None:
    await forget_router(tx, "edge-2", author=ANN, force=True)


async def _enrol_again(tx: AsyncSession) -> None:
    await enrol_router(tx, NewEnrolment(node=RouterNode("edge-2"), identity="edge-2.example", serial="2"), ANN)


@pytest.mark.parametrize("write", [_seen, _forget, _enrol_again])
async def test_another_writer_of_the_same_routers_waits_and_no_circle_is_closed(rows: Rows, write: Writer) -> None:
    await rows.live()
    await _stored_in_reverse(rows)
    first_is_written, go_on = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        await first_is_written.wait()
        async with rows.table.transaction() as tx:
            await write(tx)

    async with asyncio.TaskGroup() as group:
        group.create_task(_journal(rows, first_is_written, go_on))
        group.create_task(other())
        await until_somebody_waits(rows.table)
        go_on.set()


async def test_streams_that_are_up_are_marked_in_the_order_in_which_a_journal_locks(rows: Rows) -> None:
    await _stored_in_reverse(rows)

    async def mark() -> None:
        async with rows.table.transaction() as tx:
            await _seen(tx)

    async def lock() -> None:
        async with rows.table.transaction() as tx:
            await lock_for_news(tx, ["edge-1", "edge-2"])

    async with asyncio.TaskGroup() as group, rows.table.transaction() as holder:
        await holder.execute(text("select * from routers where node = 'edge-2' for update"))
        group.create_task(mark())
        await until_somebody_waits(rows.table)
        group.create_task(lock())
        await until_somebody_waits(rows.table, 2)


async def test_an_identity_that_somebody_else_has_is_refused_while_a_journal_writes(rows: Rows) -> None:
    await rows.live()
    await rows.enrol("edge-2")
    await rows.enrol("edge-1", "edge.example", "1")
    first_is_written, go_on = asyncio.Event(), asyncio.Event()

    async def take_its_identity() -> None:
        await first_is_written.wait()
        async with rows.table.transaction() as tx:
            await enrol_router(tx, NewEnrolment(node=RouterNode("edge-2"), identity="edge.example", serial="2"), ANN)

    journal = asyncio.create_task(_journal(rows, first_is_written, go_on))
    taking = asyncio.create_task(take_its_identity())
    await until_somebody_waits(rows.table)
    go_on.set()
    await journal
    with pytest.raises(RefusedError) as refused:
        await taking

    assert refused.value.refusal.code is RefusalCode.IDENTITY_TAKEN


async def test_of_two_new_routers_that_are_enrolled_with_one_identity_at_once_one_is_refused(rows: Rows) -> None:
    first_is_written, go_on = asyncio.Event(), asyncio.Event()

    async def enrol(node: str) -> None:
        async with rows.table.transaction() as tx:
            await enrol_router(tx, NewEnrolment(node=RouterNode(node), identity="edge.example", serial="1"), ANN)
            first_is_written.set()
            await go_on.wait()

    first = asyncio.create_task(enrol("edge-1"))
    await first_is_written.wait()
    second = asyncio.create_task(enrol("edge-2"))
    await until_somebody_waits(rows.table)
    go_on.set()
    await first
    with pytest.raises(RefusedError) as refused:
        await second

    assert refused.value.refusal.code is RefusalCode.IDENTITY_TAKEN


async def test_news_of_many_routers_lock_deployments_in_one_order(rows: Rows) -> None:
    await rows.live()
    await rows.begin("run-2", deployment="other")
    await rows.enrol("edge-1")
    first_is_written, go_on = asyncio.Event(), asyncio.Event()

    async def remove(deployment: str, then: str) -> None:
        """Lock as whoever changes keys of two deployments does: by name."""
        async with rows.table.transaction() as tx:
            await _lock(tx, deployment)
            first_is_written.set()
            await go_on.wait()
            await _lock(tx, then)

    async def write() -> None:
        await first_is_written.wait()
        async with rows.table.transaction() as tx:
            await lock_for_news(tx, ["edge-1"], ["other", "chat"])

    async with asyncio.TaskGroup() as group:
        group.create_task(remove("chat", "other"))
        group.create_task(write())
        await until_somebody_waits(rows.table)
        go_on.set()


async def _lock(tx: AsyncSession, deployment: str) -> None:
    await tx.execute(text("select * from deployments where name = :name for update"), {"name": deployment})
