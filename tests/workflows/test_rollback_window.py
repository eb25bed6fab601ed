"""A rollback that was started inside its window switches as soon as green is healthy, and bakes like any other."""

from datetime import timedelta
from typing import TYPE_CHECKING

from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout


async def test_inside_the_window_it_switches_by_itself_once_green_is_healthy(rollout: "RunningRollout") -> None:
    rollout.script.gated = False
    await rollout.start_with({"deployment": rollout.deployment, "revision": 1, "rollback": True, "requested_by": "ann"})
    await rollout.edge(SetCondition.RUNNING)
    await rollout.phase(RolloutPhase.VERIFYING)
    assert rollout.script.inputs("switch") == []

    await rollout.edge(SetCondition.READY)

    await rollout.phase(RolloutPhase.BAKING)
    [step] = rollout.script.inputs("switch")
    assert (step.by, step.door, step.reason, step.message) == (
        "policy",
        Channel.POLICY,
        "rollback inside its window",
        None,
    )
    await rollout.skip(timedelta(minutes=6))
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    await rollout.record("rolled-back-inside-the-window")


async def test_outside_the_window_it_waits_for_a_promotion(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    await rollout.skip(timedelta(days=1))

    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    assert rollout.script.inputs("switch") == []
