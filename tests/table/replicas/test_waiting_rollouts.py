"""Rollouts that wait until every live router serves an epoch."""

import asyncio

import pytest

from celadon.domain.language.names import Epoch, Fence
from celadon.table.core.fences import LeaseLostError
from celadon.table.replicas.waiting_rollouts import WaitingRollout, read_waiting_rollouts, tell_when_caught_up
from tests.table.rows import Opened, Rows


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
