"""The keeper's lease and its fence."""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from celadon.domain.language.contracts import KEEPER_LEASE
from celadon.domain.language.names import Fence
from celadon.table.core.engine import Table
from celadon.table.core.fences import LeaseLostError, hold_fence, keeper_is_alive
from celadon.table.core.outages import TableAwayError
from celadon.table.replicas.leases import release_lease, renew_lease, take_lease
from tests.table.locks import DEADLINE_SECONDS, until_somebody_waits
from tests.table.rows import Rows

LONG = timedelta(hours=1)


async def take(table: Table, holder: str, expires: timedelta = LONG) -> Fence | None:
    """Take the lease, which does not expire because the machine stood still; a test that lets it expire says so."""
    async with table.transaction() as tx:
        return await take_lease(tx, holder, expires=expires)


async def held(table: Table, holder: str = "one") -> Fence:
    fence = await take(table, holder)
    assert fence is not None
    return fence


async def alive(table: Table) -> bool:
    async with table.transaction() as tx:
        return await keeper_is_alive(tx)


async def expire(table: Table, lease: timedelta = LONG) -> None:
    unseen = lease + timedelta(milliseconds=100)
    await Rows(table, Fence(0)).sql("update keepers set seen_at = now() - cast(:unseen as interval)", unseen=unseen)


async def test_a_free_lease_is_taken(table: Table) -> None:
    assert not await alive(table)

    assert await take(table, "one") == 1
    assert await alive(table)


async def test_a_lease_that_is_held_is_not_taken(table: Table) -> None:
    await held(table)

    assert await take(table, "two") is None
    assert await take(table, "one") is None


async def test_one_of_many_takes_a_free_lease(table: Table) -> None:
    fences = await asyncio.gather(*(take(table, f"keeper-{number}") for number in range(6)))

    assert sorted(fence for fence in fences if fence is not None) == [1]


async def test_one_of_many_takes_an_expired_lease(table: Table) -> None:
    await held(table)
    await expire(table)

    fences = await asyncio.gather(*(take(table, f"keeper-{number}") for number in range(6)))

    assert sorted(fence for fence in fences if fence is not None) == [2]


async def test_an_expired_lease_vouches_for_nothing(table: Table) -> None:
    await held(table)
    await expire(table, timedelta(seconds=3))

    assert not await alive(table)
    assert await take(table, "two", KEEPER_LEASE) == 2


async def test_a_renewed_lease_is_alive(table: Table) -> None:
    fence = await held(table)
    await expire(table)

    async with table.transaction() as tx:
        await renew_lease(tx, fence)

    assert await alive(table)
    assert await take(table, "two") is None


async def test_a_lease_that_another_took_is_not_renewed(table: Table) -> None:
    fence = await held(table)
    await expire(table)
    await held(table, "two")

    with pytest.raises(LeaseLostError):
        async with table.transaction() as tx:
            await renew_lease(tx, fence)


async def test_a_lease_that_was_given_back_is_free_at_once(table: Table) -> None:
    fence = await held(table)

    async with table.transaction() as tx:
        await release_lease(tx, fence)

    assert not await alive(table)
    assert await take(table, "two") == fence + 1


async def test_a_lost_lease_cannot_be_given_back(table: Table) -> None:
    fence = await held(table)
    await expire(table)
    await held(table, "two")

    async with table.transaction() as tx:
        await release_lease(tx, fence)

    assert await alive(table)


async def test_a_fence_rises_with_every_keeper(table: Table) -> None:
    fences = []
    for holder in ("one", "two", "one"):
        fences.append(await held(table, holder))
        await expire(table)

    assert fences == [1, 2, 3]


async def test_an_older_fence_holds_nothing(table: Table) -> None:
    fence = await held(table)
    await expire(table)
    await held(table, "two")

    with pytest.raises(LeaseLostError):
        async with table.transaction() as tx:
            await hold_fence(tx, fence)


async def test_a_lease_is_not_taken_while_its_keeper_writes(table: Table) -> None:
    fence = await held(table)
    await expire(table)

    async with table.transaction() as tx:
        await hold_fence(tx, fence)
        taking = asyncio.create_task(take(table, "two"))
        await until_somebody_waits(table)
        assert not taking.done()

    assert await taking == fence + 1


async def test_a_keepers_writes_do_not_hold_up_its_own_renewal(table: Table) -> None:
    fence = await held(table)

    async with table.transaction() as writing:
        await hold_fence(writing, fence)
        async with asyncio.timeout(DEADLINE_SECONDS), table.transaction() as tx:
            await renew_lease(tx, fence)


async def test_writes_of_one_keeper_do_not_wait_for_each_other(table: Table) -> None:
    fence = await held(table)

    async with table.transaction() as one, asyncio.timeout(DEADLINE_SECONDS), table.transaction() as other:
        await hold_fence(one, fence)
        await hold_fence(other, fence)


async def test_a_keeper_frozen_in_the_middle_of_a_statement_does_not_keep_its_lease(
    table: Table,
    database_url: str,
) -> None:
    fence = await held(table)

    async def freeze(frozen: Table) -> None:
        async with frozen.transaction() as tx:
            await renew_lease(tx, fence)
            driver = (await (await tx.connection()).get_raw_connection()).driver_connection
            assert driver is not None
            # The driver parses a statement in one message and executes it in a second one, which never comes. To
            # Postgres that is no idle transaction, and no statement that takes too long.
            await driver.prepare("select count(*) from rollouts")
            frozen_in_it.set()
            await thawed.wait()

    frozen_in_it, thawed = asyncio.Event(), asyncio.Event()
    async with Table(database_url, "celadon-frozen", patience_seconds=0.2) as its_own:
        freezing = asyncio.create_task(freeze(its_own))
        await frozen_in_it.wait()
        await asyncio.wait_for(release(table, fence), DEADLINE_SECONDS)

        assert await take(table, "two") == fence + 1

        thawed.set()
        with pytest.raises(TableAwayError):
            await freezing


async def release(table: Table, fence: Fence) -> None:
    """Give a lease back as soon as its row can be had."""
    while True:
        with contextlib.suppress(TableAwayError):
            async with table.transaction() as tx:
                return await release_lease(tx, fence)
