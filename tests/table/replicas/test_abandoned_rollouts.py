"""Rollouts whose workflow is gone."""

from datetime import timedelta

import pytest

from celadon.domain.language.names import Fence
from celadon.domain.language.states import RolloutOutcome
from celadon.table.core.fences import LeaseLostError
from celadon.table.core.unfinished_rollouts import UnfinishedRollout, read_unfinished_rollouts
from celadon.table.replicas.abandoned_rollouts import abandon_rollout
from tests.table.rows import Rows


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
