"""Deaths that concern no rollout, or the next one; ``tests/chaos`` has those that strike a rollout under way."""

import os
import signal

import pytest

from tests.end_to_end.conftest import LiveDeployment, replica_processes, replica_routes, until

pytestmark = [pytest.mark.stack, pytest.mark.shared]


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


async def test_a_start_over_a_terminated_rollout_closes_it_first(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")

    await deployment.handle.terminate("replaced")
    await deployment.start("r3", auto_promote=True, bake="0s")

    assert (await deployment.ended()).status == "completed"
    assert await deployment.outcomes() == ["promoted", "failed", "promoted"]
    assert await deployment.answer() == (200, "r3")
    await deployment.until_only_live_is_left()
