"""The keeper's lease."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from celadon.domain.language.names import Fence
from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.lease import Lease
from celadon.table.core.engine import Table
from celadon.table.core.fences import LeaseLostError, hold_fence, keeper_is_alive
from celadon.table.core.models import KeeperLease
from celadon.table.replicas.leases import take_lease
from tests.keeper.leases import LASTING, LASTING_TIMES
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, running_keeper
from tests.provisioners.programs import server, until
from tests.table.locks import until_somebody_waits

pytestmark = pytest.mark.parts


async def expire(table: Table) -> None:
    async with table.transaction() as tx:
        await tx.execute(text("update keepers set seen_at = to_timestamp(0)"))


async def seen_at(table: Table) -> datetime:
    """Return when the lease was renewed last."""
    async with table.transaction() as tx:
        return (await tx.get_one(KeeperLease, 0)).seen_at


async def is_seen_since(table: Table, before: datetime) -> bool:
    return await seen_at(table) > before


async def test_one_keeper_holds_the_lease(table: Table) -> None:
    first = await Lease.take(table, "first", times=LASTING_TIMES)
    assert first is not None
    assert await Lease.take(table, "second", times=LASTING_TIMES) is None
    await first.release()
    second = await Lease.take(table, "second", times=LASTING_TIMES)
    assert second is not None
    assert second.fence == first.fence + 1


async def test_of_many_that_ask_at_once_one_gets_it(table: Table) -> None:
    async def ask(holder: int) -> Fence | None:
        async with table.transaction() as tx:
            return await take_lease(tx, str(holder), expires=LASTING)

    fences = await asyncio.gather(*(ask(holder) for holder in range(8)))
    assert [fence for fence in fences if fence is not None] == [1]


async def test_an_old_fence_writes_nothing(table: Table) -> None:
    old = await Lease.take(table, "old", times=LASTING_TIMES)
    assert old is not None
    await expire(table)
    assert await Lease.take(table, "new", times=LASTING_TIMES) is not None
    with pytest.raises(LeaseLostError):
        await FencedTable(table, old).write(hold_fence)


async def test_a_lease_that_was_not_renewed_in_time_lets_nothing_through(
    table: Table,
) -> None:
    now = 1000.0
    lease = await Lease.take(table, "keeper", clock=lambda: now)
    assert lease is not None
    now += 2.7
    lease.check()
    now += 0.2
    with pytest.raises(LeaseLostError):
        lease.check()


async def test_no_keeper_takes_over_in_the_middle_of_a_write(table: Table) -> None:
    lease = await Lease.take(table, "old", times=LASTING_TIMES)
    assert lease is not None
    async with table.transaction() as tx:
        await hold_fence(tx, lease.fence)
        await expire(table)
        taking = asyncio.create_task(Lease.take(table, "new", times=LASTING_TIMES))
        await until_somebody_waits(table)
        assert not taking.done()
    assert await taking is not None


async def test_a_lease_is_good_for_its_whole_time_however_long_its_taker_waited(
    table: Table,
) -> None:
    now = 1000.0
    old = await Lease.take(table, "old")
    assert old is not None
    async with table.transaction() as tx:
        await hold_fence(tx, old.fence)
        await expire(table)
        taking = asyncio.create_task(Lease.take(table, "new", clock=lambda: now))
        await until_somebody_waits(table)
        now += 10
    new = await taking
    assert new is not None
    new.check()


async def test_a_write_that_waits_does_not_keep_the_lease_from_being_renewed(
    table: Table,
) -> None:
    times = replace(LASTING_TIMES, renewal=timedelta(milliseconds=20))
    lease = await Lease.take(table, "keeper", times=times)
    assert lease is not None
    keeping = asyncio.create_task(lease.keep())
    async with table.transaction() as tx:
        await hold_fence(tx, lease.fence)
        for _ in range(3):
            before = await seen_at(table)
            await until(partial(is_seen_since, table, before))
        assert not keeping.done()
        lease.check()
    async with table.transaction() as tx:
        assert await keeper_is_alive(tx)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_keeper_that_lost_its_lease_takes_it_again_and_goes_on(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    async with running_keeper(table, state_dir, Rollouts()) as running:
        await chat.open({"command": server()}, replicas=1)
        [before] = await chat.healthy(1)
        async with table.transaction() as tx:
            await tx.execute(text("update keepers set fence = fence + 1, holder = 'thief', seen_at = to_timestamp(0)"))

        async def has_it_again() -> bool:
            async with table.transaction() as tx:
                lease = await tx.get_one(KeeperLease, 0)
            return (lease.holder, lease.fence) == ("keeper", 3)

        await until(has_it_again)
        # The keeper hears of its commit a little later than the table shows it.
        await until(lambda: running.metric("celadon_keeper_lease_held") == 1)
        [after] = await chat.healthy(1)
        assert after.id == before.id
