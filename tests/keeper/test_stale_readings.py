"""A keeper acts on readings that are out of date; the table checks each reason again."""

import asyncio
import uuid

import pytest_asyncio

from celadon.domain.language.names import Fence, RouteId
from celadon.domain.language.states import RouteHealthStatus, RouteStatus
from celadon.table.core.engine import Table
from celadon.table.core.models import Route
from celadon.table.replicas.keeper_reads import ManagedSet, read_managed_sets
from celadon.table.replicas.routes import (
    Leaving,
    add_route,
    mark_surplus,
    route_ended,
    route_health,
    route_running,
    set_gone,
    stop_drained,
    stop_left,
)
from tests.keeper.leases import take_lasting_lease
from tests.keeper.rollouts import Deploying
from tests.provisioners.programs import server


class ByHand:
    """A keeper whose every step a test takes; it starts no process."""

    def __init__(self, table: Table, fence: Fence, chat: Deploying) -> None:
        self.table, self.fence, self.chat = table, fence, chat

    async def read(self) -> list[ManagedSet]:
        async with self.table.transaction() as tx:
            return await read_managed_sets(tx, [self.chat.name])

    async def add(self, kept: ManagedSet, route: RouteId | None = None) -> RouteId | None:
        """Add a replica and call it healthy; return it, nothing when it was refused."""
        route = route or RouteId(str(uuid.uuid4()))
        async with self.table.transaction() as tx:
            if not await add_route(tx, self.fence, kept.route_set, route, host="127.0.0.1", port=20_000):
                return None
        async with self.table.transaction() as tx:
            await route_running(tx, self.fence, kept, route)
            await route_health(tx, self.fence, kept, route, health=RouteHealthStatus.HEALTHY, error="")
        return route


@pytest_asyncio.fixture(loop_scope="session")
async def by_hand(table: Table, chat: Deploying) -> ByHand:
    return ByHand(table, (await take_lasting_lease(table, "hand")).fence, chat)


async def switched(by_hand: ByHand) -> tuple[ManagedSet, ManagedSet]:
    """Return blue and green of a rollout that has switched."""
    for version in ("1", "2"):
        await by_hand.chat.open({"command": server(), "env": {"VERSION": version}}, replicas=1)
        await by_hand.add((await by_hand.read())[-1])
        await by_hand.chat.switch()
        if version == "1":
            await by_hand.chat.finish()
    blue, green = await by_hand.read()
    return blue, green


async def test_a_set_that_is_full_gets_no_more_replicas(by_hand: ByHand) -> None:
    await by_hand.chat.open({"command": server()}, replicas=2)
    [kept] = await by_hand.read()
    added = await asyncio.gather(*(by_hand.add(kept) for _ in range(2)))
    assert None not in added
    assert await by_hand.add(kept) is None


async def test_the_same_replica_is_written_down_once(by_hand: ByHand) -> None:
    await by_hand.chat.open({"command": server()}, replicas=1)
    [kept] = await by_hand.read()
    route = await by_hand.add(kept)
    assert route is not None
    assert await by_hand.add(kept, route) == route
    assert len(await by_hand.chat.routes(ended=None)) == 1


async def test_a_set_that_was_closed_meanwhile_gets_no_replica(by_hand: ByHand) -> None:
    green = await by_hand.chat.open({"command": server()}, replicas=1)
    [kept] = await by_hand.read()
    await by_hand.chat.close(green)
    assert await by_hand.add(kept) is None


async def test_a_set_that_was_opened_again_meanwhile_is_not_stopped(by_hand: ByHand, table: Table) -> None:
    blue, _ = await switched(by_hand)
    await by_hand.chat.close(blue.route_set)
    blue, _ = await by_hand.read()
    await by_hand.chat.switch_back()
    async with table.transaction() as tx:
        assert not await stop_drained(tx, by_hand.fence, blue, cut=True)
        assert not await set_gone(tx, by_hand.fence, blue)
    assert [route.status for route in await by_hand.chat.routes(blue.route_set)] == [RouteStatus.RUNNING]


async def test_a_decision_about_an_earlier_drain_stops_nothing(by_hand: ByHand, table: Table) -> None:
    blue, green = await switched(by_hand)
    await by_hand.chat.close(blue.route_set)
    first_drain, _ = await by_hand.read()
    await by_hand.chat.switch_back()
    await by_hand.chat.close(green.route_set)
    await by_hand.chat.finish()
    await by_hand.chat.open({"command": server(), "env": {"VERSION": "3"}}, replicas=1)
    await by_hand.add((await by_hand.read())[-1])
    await by_hand.chat.switch()
    await by_hand.chat.close(blue.route_set)
    async with table.transaction() as tx:
        assert not await stop_drained(tx, by_hand.fence, first_drain, cut=False)


async def test_nobody_leaves_when_more_are_wanted_again(by_hand: ByHand, table: Table) -> None:
    await by_hand.chat.open({"command": server()}, replicas=2)
    [kept] = await by_hand.read()
    await by_hand.add(kept)
    await by_hand.add(kept)
    await by_hand.chat.scale(1)
    [fewer] = await by_hand.read()
    await by_hand.chat.scale(3)
    async with table.transaction() as tx:
        assert await mark_surplus(tx, by_hand.fence, fewer) == Leaving()


async def test_no_more_leave_than_are_too_many(by_hand: ByHand, table: Table) -> None:
    await by_hand.chat.open({"command": server()}, replicas=3)
    [kept] = await by_hand.read()
    routes = [await by_hand.add(kept) for _ in range(3)]
    await by_hand.chat.scale(2)
    for expected in (Leaving(drained=frozenset({RouteId(str(routes[-1]))})), Leaving()):
        async with table.transaction() as tx:
            assert await mark_surplus(tx, by_hand.fence, kept) == expected


async def test_a_member_that_was_taken_back_meanwhile_is_not_stopped(by_hand: ByHand, table: Table) -> None:
    await by_hand.chat.open({"command": server()}, replicas=2)
    [kept] = await by_hand.read()
    await by_hand.add(kept)
    await by_hand.add(kept)
    await by_hand.chat.scale(1)
    async with table.transaction() as tx:
        await mark_surplus(tx, by_hand.fence, kept)
    [kept] = await by_hand.read()
    [leaving] = kept.leaving
    await by_hand.chat.scale(2)
    async with table.transaction() as tx:
        assert not await stop_left(tx, by_hand.fence, kept, leaving, cut=True)
    await by_hand.chat.scale(1)
    async with table.transaction() as tx:
        left = await mark_surplus(tx, by_hand.fence, kept)
        assert left.drained == {leaving.route}
        assert not await stop_left(tx, by_hand.fence, kept, leaving, cut=True)


async def test_an_end_is_counted_once(by_hand: ByHand, table: Table) -> None:
    await by_hand.chat.open({"command": server()}, replicas=1)
    [kept] = await by_hand.read()
    route = await by_hand.add(kept)
    assert route is not None
    for _ in range(2):
        async with table.transaction() as tx:
            await route_ended(tx, by_hand.fence, kept, route, status=RouteStatus.TERMINATED, error="x", failed=True)
    assert (await by_hand.chat.set_row()).replacements == 1
    assert len(await by_hand.chat.events("replica_failed")) == 1
    async with table.transaction() as tx:
        assert (await tx.get_one(Route, route)).ended_at is not None
