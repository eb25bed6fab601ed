"""A live green without a healthy replica during the bake: its rollout hears of it, and of the end of it."""

import itertools
from datetime import timedelta
from typing import Any

import pytest

from celadon.domain.decisions.lost_green import way_back_after
from celadon.domain.language.progress import AbortRequest
from celadon.domain.language.states import Channel, RouteHealthStatus
from celadon.domain.language.steps import Step, SwitchAnswer, SwitchStep
from celadon.table.rollouts.route_sets import ask_for_edge
from celadon.table.rollouts.switch import switch_back
from tests.domain.rollouts import NOW
from tests.table.rows import HEALTHY, TRUSTING, Opened, Rows, rollback

UNHEALTHY, DEGRADED = RouteHealthStatus.UNHEALTHY, RouteHealthStatus.DEGRADED
_decisions = itertools.count(1)


async def edges(rows: Rows, opened: Opened) -> list[dict[str, Any]]:
    """Return the edges of green that tell of more than the switch needs."""
    found = await rows.rows("select payload from outbox where signal = 'green_changed' order by id")
    told = [one["payload"] for one in found if one["payload"]["route_set"] == opened.green]
    return told[_edges_before_switch(told) :]


def _edges_before_switch(told: list[dict[str, Any]]) -> int:
    return next((at for at, one in enumerate(told) if one["lost_since"] is not None), len(told))


async def baking(rows: Rows, *, replicas: int = 2, **request: Any) -> tuple[Opened, Opened]:
    """Return blue and a rollout that bakes beside it."""
    return await rows.live(replicas=replicas), await rows.switched("run-2", replicas=replicas, **request)


async def policys_way_back(rows: Rows, opened: Opened) -> SwitchAnswer:
    """Ask for the way back as a rollout does whose green is lost."""
    asked: AbortRequest = way_back_after(timedelta(seconds=10), NOW)
    changes = {"by": asked.command.by, "door": asked.door, "reason": asked.command.reason}
    step = opened.switch_step(message=None, keeps_asking=True, decision=f"run-2/{next(_decisions)}", **changes)
    return await _go_back(rows, step)


async def _go_back(rows: Rows, step: SwitchStep) -> SwitchAnswer:
    async with rows.table.transaction() as tx:
        return await switch_back(tx, step, TRUSTING)


async def pending(rows: Rows, opened: Opened) -> dict[str, Any] | None:
    [row] = await rows.rows("select pending_abort from rollouts where id = :id", id=opened.begun.rollout)
    found: dict[str, Any] | None = row["pending_abort"]
    return found


async def test_a_rollout_hears_once_that_its_green_is_lost_and_once_that_it_is_back(rows: Rows) -> None:
    _, opened = await baking(rows)

    await rows.end(opened, opened.routes[0])
    assert await edges(rows, opened) == []
    await rows.set_health(opened, opened.routes[1], UNHEALTHY, "status 500")
    [lost] = await edges(rows, opened)
    assert (lost["ready"], lost["wanted"], lost["rollout"]) == (0, 2, opened.begun.rollout)
    assert "status 500" in lost["last_error"]

    await rows.add(opened, UNHEALTHY)
    await rows.set_health(opened, opened.routes[1], HEALTHY)
    [_, back] = await edges(rows, opened)
    assert (back["ready"], back["lost_since"]) == (1, None)
    assert back["seq"] > lost["seq"]


async def test_a_replica_that_fails_a_few_probes_is_not_lost(rows: Rows) -> None:
    _, opened = await baking(rows, replicas=1)

    await rows.set_health(opened, opened.routes[0], DEGRADED)

    assert await edges(rows, opened) == []


@pytest.mark.parametrize("replicas", [0, 1])
async def test_a_green_that_grows_from_nothing_is_not_lost(rows: Rows, replicas: int) -> None:
    _, opened = await baking(rows, replicas=replicas)
    if replicas:
        await rows.scale(0)
        await rows.end(opened, opened.routes[0])

    await rows.scale(2)
    await rows.add(opened)

    assert await edges(rows, opened) == []


async def test_a_green_that_nobody_went_on_with_hears_nothing(rows: Rows) -> None:
    """Before its switch the condition says it all; after the rollout's end nobody is left to go back."""
    await rows.live()
    opened = await rows.ready("run-2")
    await rows.set_health(opened, opened.routes[0], UNHEALTHY)
    assert await edges(rows, opened) == []
    await rows.set_health(opened, opened.routes[0], HEALTHY)
    await rows.switch(opened)
    await rows.finish(opened)

    await rows.set_health(opened, opened.routes[0], UNHEALTHY)

    assert await edges(rows, opened) == []


async def test_a_rollout_that_began_before_there_was_such_a_policy_hears_nothing(rows: Rows) -> None:
    _, opened = await baking(rows, replicas=1)
    await rows.sql("update rollouts set policy = policy - 'failover_rollback' where id = :id", id=opened.begun.rollout)

    await rows.set_health(opened, opened.routes[0], UNHEALTHY)

    assert await edges(rows, opened) == []


async def test_a_run_that_was_reset_asks_since_when_green_is_lost(rows: Rows) -> None:
    _, opened = await baking(rows, replicas=1)
    await rows.set_health(opened, opened.routes[0], UNHEALTHY)

    async with rows.table.transaction() as tx:
        asked = await ask_for_edge(tx, Step(deployment="chat", rollout=opened.begun.rollout))

    [lost] = await edges(rows, opened)
    assert asked.green_lost_since is not None
    assert asked.green_lost_since.isoformat() == lost["lost_since"].replace("Z", "+00:00")


async def test_the_policys_way_back_is_told_as_such(rows: Rows) -> None:
    _, opened = await baking(rows)

    answer = await policys_way_back(rows, opened)

    assert answer.refusal is None
    [event] = await rows.rows("select actor, door, reason from rollout_events where kind = 'switched_back'")
    assert (event["actor"], event["door"]) == ("policy", Channel.POLICY.value)
    assert event["reason"] == "green has had no healthy replica for 10s"


async def _sick(rows: Rows) -> tuple[Opened, Opened]:
    blue, opened = await baking(rows, replicas=1)
    await rows.set_health(blue, blue.routes[0], UNHEALTHY)
    await rows.set_health(opened, opened.routes[0], UNHEALTHY)
    return blue, opened


async def test_a_green_that_is_back_takes_the_policys_pending_abort_with_it(rows: Rows) -> None:
    _, opened = await _sick(rows)
    assert (await policys_way_back(rows, opened)).refusal is not None
    assert await pending(rows, opened) is not None

    await rows.set_health(opened, opened.routes[0], HEALTHY)

    assert await pending(rows, opened) is None


async def test_a_green_that_is_back_leaves_the_aborts_of_people_alone(rows: Rows) -> None:
    _, opened = await _sick(rows)
    await policys_way_back(rows, opened)
    step = opened.switch_step(message=rollback(), keeps_asking=True, decision=f"run-2/{next(_decisions)}")
    await _go_back(rows, step)

    await rows.set_health(opened, opened.routes[0], HEALTHY)

    left = await pending(rows, opened)
    assert left is not None
    assert (left["by"], left["others"]) == ("ann", [])
