"""Owed signals, routers that caught up, reports of drains, and rollouts left behind."""

import asyncio
from datetime import timedelta

import pytest

from celadon.domain.drain import RouterDrain
from celadon.domain.names import Epoch, Fence, RouteSetId
from celadon.domain.states import RolloutOutcome
from celadon.table.keeping import (
    UnfinishedRollout,
    WaitingRollout,
    abandon_rollout,
    count_owed_signals,
    read_drain_reports,
    read_owed_signals,
    read_unfinished_rollouts,
    read_waiting_rollouts,
    signal_taken,
    tell_when_caught_up,
)
from celadon.table.leases import LeaseLostError
from celadon.table.routers import SetLoad, record_load
from tests.table.rows import Opened, Rows

# Owed signals.


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


# Routers that caught up.


async def waiting_rollout(rows: Rows) -> tuple[Opened, int]:
    """Return a rollout that waits for a silent router, and the epoch it waits for."""
    first = await rows.live()
    second = await rows.switched("run-2")
    epoch = await rows.value("select epoch from deployments")
    await rows.router("edge-1", epoch - 1)
    await rows.close(second, first.green, needs_acknowledgement=Epoch(epoch))
    await rows.sql("delete from outbox")
    return second, epoch


async def caught_up(rows: Rows, fence: Fence | None = None) -> list[bool]:
    async with rows.table.transaction() as tx:
        waiting = await read_waiting_rollouts(tx)
    told = []
    for one in waiting:
        async with rows.table.transaction() as tx:
            told.append(await tell_when_caught_up(tx, rows.fence if fence is None else fence, one))
    return told


async def test_a_rollout_waits_while_a_router_is_silent(rows: Rows) -> None:
    opened, epoch = await waiting_rollout(rows)

    async with rows.table.transaction() as tx:
        assert await read_waiting_rollouts(tx) == [
            WaitingRollout(rollout=opened.begun.rollout, deployment="chat", epoch=Epoch(epoch)),
        ]
    assert await caught_up(rows) == [False]
    assert await rows.value("select count(*) from outbox") == 0


async def test_a_rollout_is_told_once_when_its_routers_caught_up(rows: Rows) -> None:
    opened, epoch = await waiting_rollout(rows)
    await rows.acknowledge("edge-1", epoch)

    assert await caught_up(rows) == [True]
    assert await caught_up(rows) == []

    [owed] = await rows.rows("select workflow_id, signal, payload from outbox")
    assert (owed["workflow_id"], owed["signal"], owed["payload"]) == (
        "rollout-chat",
        "routers_acknowledged",
        {"epoch": epoch, "rollout": opened.begun.rollout},
    )


async def test_a_rollout_is_told_when_the_silent_router_is_gone(rows: Rows) -> None:
    await waiting_rollout(rows)
    await rows.sql("update routers set gone_at = now()")

    assert await caught_up(rows) == [True]


async def test_two_keepers_at_once_tell_a_rollout_once(rows: Rows) -> None:
    _, epoch = await waiting_rollout(rows)
    await rows.acknowledge("edge-1", epoch)

    answers = await asyncio.gather(caught_up(rows), caught_up(rows))

    assert sum(answer.count(True) for answer in answers) == 1
    assert await rows.value("select count(*) from outbox") == 1


async def test_a_rollout_that_ended_waits_for_no_router(rows: Rows) -> None:
    opened, _ = await waiting_rollout(rows)

    await rows.finish(opened)

    async with rows.table.transaction() as tx:
        assert await read_waiting_rollouts(tx) == []


async def test_a_keeper_that_lost_its_lease_tells_no_rollout(rows: Rows) -> None:
    _, epoch = await waiting_rollout(rows)
    await rows.acknowledge("edge-1", epoch)

    with pytest.raises(LeaseLostError):
        await caught_up(rows, Fence(rows.fence - 1))


# What routers say of a drain.


async def draining(rows: Rows) -> tuple[Opened, RouteSetId, int]:
    """Return a rollout whose blue drains, blue, and the epoch of the drain."""
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.close(second, first.green)
    return second, first.green, await rows.value("select drain_epoch from route_sets where id = :id", id=first.green)


async def reports(rows: Rows, route_set: RouteSetId) -> tuple[RouterDrain, ...]:
    async with rows.table.transaction() as tx:
        return (await read_drain_reports(tx, [route_set])).routers[route_set]


async def report(
    rows: Rows, node: str, route_set: RouteSetId, running: int, zero_reports: int, epoch: int | None = None
) -> None:
    """Report at the deployment's present epoch, unless another one is given."""
    present = await rows.value("select epoch from deployments")
    load = SetLoad(
        route_set=route_set,
        epoch=Epoch(present if epoch is None else epoch),
        running=running,
        zero_reports=zero_reports,
    )
    async with rows.table.transaction() as tx:
        await record_load(tx, node, [load])


async def test_every_live_router_is_asked_about_a_drain(rows: Rows) -> None:
    _, blue, epoch = await draining(rows)
    await rows.router("edge-1", epoch)
    await rows.router("edge-2", epoch - 1)
    await rows.router("edge-3", epoch)
    await rows.sql("update routers set gone_at = now() where node = 'edge-3'")
    await rows.connect("edge-4")
    await report(rows, "edge-1", blue, 4, 0)

    assert await reports(rows, blue) == (
        RouterDrain(router="edge-1", acknowledged=True, running=4, zero_reports=0),
        RouterDrain(router="edge-2", acknowledged=False, running=None, zero_reports=0),
    )


async def test_a_report_from_before_the_drain_says_nothing(rows: Rows) -> None:
    _, blue, epoch = await draining(rows)
    await rows.router("edge-1", epoch)
    await report(rows, "edge-1", blue, 0, 9)
    await rows.sql("update router_load set reported_at = reported_at - interval '1 hour'")

    assert await reports(rows, blue) == (RouterDrain(router="edge-1", acknowledged=True, running=None, zero_reports=0),)


async def test_a_zero_of_an_earlier_drain_that_is_written_late_says_nothing(rows: Rows) -> None:
    second, blue, earlier = await draining(rows)
    await rows.switch_back(second)
    again = await rows.switched("run-3")
    await rows.close(again, blue)
    epoch = await rows.value("select drain_epoch from route_sets where id = :id", id=blue)
    await rows.router("edge-1", epoch)
    await report(rows, "edge-1", blue, 0, 9, epoch=earlier)

    assert await reports(rows, blue) == (RouterDrain(router="edge-1", acknowledged=True, running=None, zero_reports=0),)

    await report(rows, "edge-1", blue, 3, 0)
    await report(rows, "edge-1", blue, 0, 9, epoch=earlier)

    assert await reports(rows, blue) == (RouterDrain(router="edge-1", acknowledged=True, running=3, zero_reports=0),)


async def test_without_routers_nobody_reports(rows: Rows) -> None:
    _, blue, _ = await draining(rows)

    assert await reports(rows, blue) == ()


# Rollouts left behind.


async def unfinished(rows: Rows) -> list[UnfinishedRollout]:
    async with rows.table.transaction() as tx:
        return await read_unfinished_rollouts(tx)


async def abandoned(rows: Rows, left: UnfinishedRollout, fence: Fence | None = None) -> bool:
    async with rows.table.transaction() as tx:
        return await abandon_rollout(tx, rows.fence if fence is None else fence, left, "terminated")


async def test_unfinished_rollouts_are_found(rows: Rows) -> None:
    await rows.live()
    second = await rows.open("run-2")
    other = await rows.open("run-3", deployment="other")

    assert [(one.rollout, one.workflow_id) for one in await unfinished(rows)] == [
        (second.begun.rollout, "rollout-chat"),
        (other.begun.rollout, "rollout-other"),
    ]


async def test_before_its_switch_an_abandoned_rollout_leaves_blue(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.ready("run-2")
    [left] = await unfinished(rows)

    assert await abandoned(rows, left)

    states = {row["id"]: row["state"] for row in await rows.rows("select id, state from route_sets")}
    assert states == {first.green: "open", second.green: "draining"}
    [row] = await rows.rows("select * from rollouts where id = :id", id=second.begun.rollout)
    assert (row["outcome"], row["outcome_reason"]) == ("failed", "terminated")
    assert await rows.value("select lifecycle from deployments") == "ready"


async def test_after_its_switch_an_abandoned_rollout_leaves_green(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    [left] = await unfinished(rows)

    assert await abandoned(rows, left)

    states = {row["id"]: row["state"] for row in await rows.rows("select id, state from route_sets")}
    assert states == {first.green: "draining", second.green: "open"}
    deadline = await rows.value("select drain_deadline - drain_since from route_sets where id = :id", id=first.green)
    assert deadline == timedelta(minutes=15)


async def test_a_rollout_that_ended_meanwhile_is_not_abandoned(rows: Rows) -> None:
    opened = await rows.ready()
    [left] = await unfinished(rows)
    await rows.finish(opened, RolloutOutcome.ABORTED)
    before = await rows.dump()

    assert not await abandoned(rows, left)
    assert await rows.dump() == before


async def test_a_keeper_that_lost_its_lease_abandons_nothing(rows: Rows) -> None:
    await rows.ready()
    [left] = await unfinished(rows)
    before = await rows.dump()

    with pytest.raises(LeaseLostError):
        await abandoned(rows, left, Fence(rows.fence - 1))

    assert await rows.dump() == before
