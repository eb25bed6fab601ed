"""Previews that grow, and a bound on replicas, on a whole stack under traffic: keeper, worker, gateway and router."""

import asyncio

import pytest

from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from tests.end_to_end.conftest import LiveDeployment, run
from tests.end_to_end.held_stream import held_stream
from tests.end_to_end.test_freezes import until_it_holds
from tests.end_to_end.test_line import Traffic

pytestmark = [pytest.mark.stack, pytest.mark.shared]


async def healthy_of_green(deployment: LiveDeployment) -> int:
    green = (await deployment.rollouts.status(deployment.name)).green
    return 0 if green is None else green.ready


async def test_preview_1_of_3_then_full_then_switch(deployment: LiveDeployment) -> None:
    await deployment.serve("r1", replicas=3)
    traffic = Traffic(deployment)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run())
        await traffic.meets("r1")
        await deployment.start("r2", replicas=3, preview_replicas=1, max_total_replicas=6, bake="1s")
        await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
        assert await healthy_of_green(deployment) == 1
        assert len(await deployment.unfinished_routes()) == 4

        code, out, errors = await run(
            deployment.addresses, "celadon", "promote", deployment.name, "--direct", "--by", "ann"
        )
        assert code == 0, out + errors
        assert "Accepted: green grows to 3 replicas now" in " ".join(out.split())
        await traffic.meets("r2")
        ended = await deployment.ended()
        traffic.stop()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    assert set(traffic.answers) == {"r1", "r2"}
    await deployment.until_only_live_is_left()
    assert len(await deployment.unfinished_routes()) == 3


async def test_no_room_is_waited_for_until_it_appears(deployment: LiveDeployment) -> None:
    await deployment.serve("r1", replicas=2)
    async with held_stream(deployment):
        await deployment.wait_for_promotion("r2", bake="0s", auto_promote=False)
        await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
        await deployment.phase(RolloutPhase.DRAINING)
        # A replica of r1 drains for as long as its stream runs, and the rollout that parts with it is gone.
        await deployment.handle.terminate("a person pressed the wrong button")

        bound = {"max_total_replicas": 4, "on_no_room": "wait"}
        await deployment.start("r3", **bound, preview_replicas=2, auto_promote=True, bake="1s")
        await until_it_holds(deployment, "and max_total_replicas is 4; green is opened as soon as there is room")
        assert await deployment.live_revision() == 2

    ended = await deployment.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    assert await deployment.live_revision() == 3
    await deployment.until_only_live_is_left()


async def test_a_bound_that_no_rollout_could_keep_is_refused_with_the_figures(deployment: LiveDeployment) -> None:
    await deployment.serve("r1", replicas=2)

    code, out, errors = await run(
        deployment.addresses,
        *("celadon", "policy", "set", deployment.name, "max_total_replicas=3", "--direct", "--by", "ann"),
    )

    assert code == 1, out + errors
    assert "max_total_replicas of 3 leaves no room for a rollout" in " ".join((out + errors).split())
    assert "blue has 2 and green needs 2 beside it" in " ".join((out + errors).split())
