"""The order in which lines of the audit log are read: none is skipped, however late it is committed."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.table.core.migrate import upgrade
from celadon.table.read.event_order import (
    BEGINNING,
    Place,
    SettledLines,
    events_after,
    lines_after,
    newest_events,
    newest_place,
    place_of,
    settled_soon,
)
from celadon.table.rollouts.audit import write_event
from tests.table.rows import Rows

DEADLINE_SECONDS = 60


async def _note(tx: AsyncSession, kind: str, deployment: str = "chat") -> None:
    await write_event(tx, deployment, None, kind)


async def _read(rows: Rows, place: Place, limit: int = 100) -> tuple[list[str], Place, bool]:
    async with rows.table.transaction() as tx:
        found = await lines_after(tx, {}, None, place, limit)
    return [one.kind for one in found.events], found.last, found.held_back


async def _settled(rows: Rows, place: Place) -> list[str]:
    """Return what comes after a place once nothing is held back: transactions of others may be open."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            kinds, _, held_back = await _read(rows, place)
            if kinds and not held_back:
                return kinds
            await asyncio.sleep(0.05)


async def test_a_line_that_is_committed_after_a_higher_number_is_missed_by_nobody(rows: Rows) -> None:
    await rows.live()
    async with rows.table.transaction() as tx:
        begun_at = await newest_place(tx)
    async with rows.table.transaction() as low:
        await _note(low, "low")
        async with rows.table.transaction() as high:
            await _note(high, "high")
        # The higher number is committed, the lower is not: neither is handed out.
        assert await _read(rows, begun_at) == ([], begun_at, True)
    assert await _settled(rows, begun_at) == ["low", "high"]


async def test_a_reader_between_the_two_commits_gets_both_once(rows: Rows) -> None:
    await rows.live()
    async with rows.table.transaction() as tx:
        place = await newest_place(tx)
    async with rows.table.transaction() as first:
        await _note(first, "first")
        async with rows.table.transaction() as second:
            await _note(second, "second")
            async with rows.table.transaction() as third:
                await _note(third, "third")
            seen, place, _ = await _read(rows, place)
            assert seen == []
        seen, place, _ = await _read(rows, place)
        assert seen == []
    assert await _settled(rows, place) == ["first", "second", "third"]


async def test_a_transaction_that_took_its_number_late_comes_by_its_beginning(rows: Rows) -> None:
    """The transaction that began first writes last: its line has the highest number and is read first."""
    await rows.live()
    async with rows.table.transaction() as tx:
        begun_at = await newest_place(tx)
    async with rows.table.transaction() as early:
        await early.connection()
        await _note(early, "early: one")
        async with rows.table.transaction() as late:
            await _note(late, "late")
        await _note(early, "early: two")
    assert await _settled(rows, begun_at) == ["early: one", "early: two", "late"]


async def test_what_is_rolled_back_holds_nothing_back(rows: Rows) -> None:
    await rows.live()
    async with rows.table.transaction() as tx:
        begun_at = await newest_place(tx)
    async with rows.table.transaction() as tx:
        await _note(tx, "undone")
        async with rows.table.transaction() as other:
            await _note(other, "kept")
        await tx.rollback()
    assert await _settled(rows, begun_at) == ["kept"]


async def test_a_lines_number_is_its_place(rows: Rows) -> None:
    await rows.live()
    async with rows.table.transaction() as tx:
        before = await newest_place(tx)
    async with rows.table.transaction() as low:
        await _note(low, "low")
        async with rows.table.transaction() as high:
            await _note(high, "high")
    assert await _settled(rows, before) == ["low", "high"]
    numbers = {row["kind"]: row["id"] for row in await rows.rows("select kind, id from rollout_events")}
    async with rows.table.transaction() as tx:
        assert [one.kind for one in await events_after(tx, {}, None, numbers["low"], 10)] == ["high"]
        assert await events_after(tx, {}, None, numbers["high"], 10) == ()
        assert await place_of(tx, 0) == BEGINNING
        assert await place_of(tx, 2**63 - 1) == await newest_place(tx)


async def test_the_newest_lines_come_newest_first_and_page_back(rows: Rows) -> None:
    await rows.live()
    await rows.live("run-2", deployment="ads")
    everything = await _settled(rows, BEGINNING)
    async with rows.table.transaction() as tx:
        newest = await newest_events(tx, {}, None, None, 3)
        older = await newest_events(tx, {}, None, newest.events[-1].id, 100)
        of_ads = await newest_events(tx, {}, "ads", None, 1)

    assert [one.kind for one in (*newest.events, *older.events)] == everything[::-1]
    assert len(newest.events) == 3
    assert [one.deployment for one in of_ads.events] == ["ads"]


async def test_whoever_reads_on_from_the_newest_line_misses_none_that_was_held_back(rows: Rows) -> None:
    await rows.live()
    everything = await _settled(rows, BEGINNING)
    async with rows.table.transaction() as low:
        await _note(low, "low")
        async with rows.table.transaction() as high:
            await _note(high, "high")
        async with rows.table.transaction() as tx:
            newest = await newest_events(tx, {}, None, None, 1)
    assert [one.kind for one in newest.events] == everything[-1:]
    assert newest.held_back
    assert await _settled(rows, newest.last) == ["low", "high"]


async def test_the_newest_line_is_waited_for_while_another_transaction_ends(rows: Rows) -> None:
    await rows.live()

    async def read() -> SettledLines:
        reads.append(1)
        if len(reads) == 2:
            await low.commit()
        async with rows.table.transaction() as tx:
            return await newest_events(tx, {}, None, None, 1)

    reads: list[int] = []
    async with rows.table.transaction() as low:
        await _note(low, "low")
        async with rows.table.transaction() as high:
            await _note(high, "high")
        newest = await settled_soon(read)

    assert [one.kind for one in newest] == ["high"]


async def test_pages_of_lines_meet_without_gap_or_overlap(rows: Rows) -> None:
    await rows.live()
    await rows.live("run-2", deployment="ads")
    everything = await _settled(rows, BEGINNING)
    place, seen = BEGINNING, list[str]()
    while True:
        page, place, _ = await _read(rows, place, limit=2)
        if not page:
            break
        seen += page
    assert seen == everything


async def test_lines_keep_to_the_deployment_and_to_the_scope(rows: Rows) -> None:
    await rows.live(labels={"team": "search"})
    await rows.live("run-2", deployment="ads")
    await _settled(rows, BEGINNING)
    async with rows.table.transaction() as tx:
        of_scope = await lines_after(tx, {"team": "search"}, None, BEGINNING, 100)
        of_ads = await lines_after(tx, {}, "ads", BEGINNING, 100)
    assert {one.deployment for one in of_scope.events} == {"chat"}
    assert {one.deployment for one in of_ads.events} == {"ads"}


async def test_lines_from_before_transactions_were_kept_stay_in_the_order_of_their_numbers(rows: Rows) -> None:
    await rows.live()
    last = await rows.value("select max(id) from rollout_events")
    async with rows.table.transaction() as tx:
        await _note(tx, "new")
    await _settled(rows, BEGINNING)
    async with rows.table.transaction() as tx:
        found = await lines_after(tx, {}, None, BEGINNING, 100)
        assert [one.kind for one in await events_after(tx, {}, None, last, 10)] == ["new"]
    assert [one.id for one in found.events] == sorted(one.id for one in found.events)


async def test_lines_of_another_cluster_are_read_and_new_ones_come_after_them(rows: Rows, database_url: str) -> None:
    """A dump that is restored elsewhere brings numbers of transactions that are not there yet."""
    await rows.live()
    await rows.sql("alter table rollout_events disable trigger user")
    await rows.sql("update rollout_events set transaction_id = 1000000000000 + id")
    await rows.sql("alter table rollout_events enable trigger user")
    restored = [row["kind"] for row in await rows.rows("select kind from rollout_events order by id")]

    await upgrade(database_url)

    async with rows.table.transaction() as tx:
        await _note(tx, "new")
    assert await _settled(rows, BEGINNING) == [*restored, "new"]


async def test_an_upgrade_changes_nothing_of_lines_of_its_own_cluster(rows: Rows, database_url: str) -> None:
    await rows.live()
    before = await rows.rows("select id, transaction_id from rollout_events order by id")
    await upgrade(database_url)
    assert await rows.rows("select id, transaction_id from rollout_events order by id") == before
