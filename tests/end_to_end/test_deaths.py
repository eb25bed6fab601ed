"""Whatever process dies, the rollout ends as it would have ended, and nothing is left behind."""

import os
import signal

import pytest

from celadon.domain.messages import PromoteCommand, PromoteState
from celadon.domain.states import RolloutOutcome
from celadon.stack.addresses import StackAddresses
from tests.end_to_end.conftest import LiveDeployment, replica_processes, replica_routes, until

pytestmark = pytest.mark.stack


async def _kill(addresses: StackAddresses, child: str) -> None:
    """Kill a child of the stack and wait until its successor runs."""
    before = StackAddresses.of_running(addresses.data_dir).children[child]
    os.kill(before, signal.SIGKILL)

    async def replaced() -> bool:
        now = StackAddresses.of_running(addresses.data_dir).children
        return child in now and now[child] != before

    await until(replaced, f"{child} is started again")


@pytest.mark.parametrize("child", ["worker", "gateway", "temporal", "postgres", "router"])
async def test_a_rollout_that_waits_survives_the_death_of(
    stack: StackAddresses,
    deployment: LiveDeployment,
    child: str,
) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2", bake="0s")
    replicas = set(await deployment.unfinished_routes())

    await _kill(stack, child)
    answer = await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
    ended = await deployment.ended()

    assert answer.state is PromoteState.SWITCHED
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED

    async def served() -> bool:
        return await deployment.answer() == (200, "r2")

    await until(served, "the router serves green")
    await deployment.until_only_live_is_left()
    assert set(await deployment.unfinished_routes()) < replicas


async def test_a_worker_killed_while_green_starts_leaves_no_replica_twice(
    stack: StackAddresses,
    deployment: LiveDeployment,
) -> None:
    await deployment.serve("r1")
    await deployment.start("r2", replicas=4, auto_promote=True, bake="0s")

    async def some_started() -> bool:
        return len(await deployment.unfinished_routes()) > 3

    await until(some_started, "the keeper has begun to start green")
    await _kill(stack, "worker")
    ended = await deployment.ended()

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    await deployment.until_only_live_is_left()
    assert len(await deployment.unfinished_routes()) == 4


async def test_a_dead_replica_is_replaced(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    before = await deployment.unfinished_routes()
    victim = next(iter(before))

    for pid in replica_processes(victim):
        os.kill(pid, signal.SIGKILL)

    async def replaced() -> bool:
        now = await deployment.unfinished_routes()
        return victim not in now and len(now) == 2 and set(now) <= replica_routes()

    await until(replaced, "the keeper replaces the replica")
    assert await deployment.answer() == (200, "r1")


async def test_a_terminated_rollout_is_cleaned_up_and_the_next_one_starts(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")

    await deployment.handle.terminate("a person pressed the wrong button")

    async def ended() -> bool:
        return (await deployment.outcomes())[-1] == "failed"

    await until(ended, "the keeper ends the rollout that was terminated")
    await deployment.until_only_live_is_left()
    assert await deployment.answer() == (200, "r1")
    await deployment.start("r3", auto_promote=True, bake="0s")
    assert (await deployment.ended()).status == "completed"
    assert await deployment.answer() == (200, "r3")


async def test_a_start_over_a_terminated_rollout_closes_it_first(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")

    await deployment.handle.terminate("replaced")
    await deployment.start("r3", auto_promote=True, bake="0s")

    assert (await deployment.ended()).status == "completed"
    assert await deployment.outcomes() == ["promoted", "failed", "promoted"]
    assert await deployment.answer() == (200, "r3")
    await deployment.until_only_live_is_left()
