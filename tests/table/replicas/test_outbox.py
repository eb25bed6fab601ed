"""The outbox: owed signals, until Temporal has taken them."""

import pytest

from celadon.domain.language.names import Fence
from celadon.table.core.fences import LeaseLostError
from celadon.table.replicas.outbox import count_owed_signals, read_owed_signals, signal_taken
from tests.table.rows import Rows


async def test_signals_are_owed_in_their_order(rows: Rows) -> None:
    await rows.ready(replicas=2)

    async with rows.table.transaction() as tx:
        owed = await read_owed_signals(tx, limit=100)

    assert [(one.workflow_id, one.signal, one.payload["seq"]) for one in owed] == [
        ("rollout-chat", "green_changed", 1),
        ("rollout-chat", "green_changed", 2),
    ]


async def test_so_many_signals_are_read_at_once(rows: Rows) -> None:
    await rows.ready(replicas=2)

    async with rows.table.transaction() as tx:
        assert [one.payload["seq"] for one in await read_owed_signals(tx, limit=1)] == [1]
        assert await count_owed_signals(tx) == 2


async def test_a_signal_is_owed_until_it_is_taken(rows: Rows) -> None:
    await rows.ready(replicas=2)

    async with rows.table.transaction() as tx:
        first, second = await read_owed_signals(tx, limit=100)
        await signal_taken(tx, rows.fence, first)
    async with rows.table.transaction() as tx:
        assert await read_owed_signals(tx, limit=100) == [second]


async def test_a_keeper_that_lost_its_lease_forgets_no_signal(rows: Rows) -> None:
    await rows.ready()
    before = await rows.dump()

    async with rows.table.transaction() as tx:
        [one, *_] = await read_owed_signals(tx, limit=100)
        with pytest.raises(LeaseLostError):
            await signal_taken(tx, Fence(rows.fence - 1), one)

    assert await rows.dump() == before
