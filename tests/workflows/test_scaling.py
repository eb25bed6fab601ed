"""What a rollout makes of somebody scaling its green."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import SwitchAnswer

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout


async def grow(rollout: "RunningRollout") -> None:
    """Let green grow, and have grown."""
    await rollout.edge(SetCondition.RUNNING, ready=2, scaled=True)
    await rollout.phase(RolloutPhase.VERIFYING)
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)


async def test_a_green_that_was_scaled_starts_the_delay_anew(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    await rollout.skip(timedelta(minutes=50))

    await grow(rollout)

    await rollout.skip(timedelta(minutes=50))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    await rollout.skip(timedelta(minutes=11))
    await rollout.phase(RolloutPhase.BAKING)
    await rollout.record("green-scaled")


async def test_scaling_is_no_regression_of_the_revision(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h", max_regressions=0)

    for _ in range(3):
        await grow(rollout)

    status = await rollout.status()
    assert status.holding == ""
    assert [timer.name for timer in status.timers] == ["automatic promotion"]


async def test_a_refused_switch_of_a_green_that_grows_is_no_regression_either(rollout: "RunningRollout") -> None:
    refusal = Refusal(code=RefusalCode.NO_HEALTHY_GREEN, message="too few healthy replicas of green")
    rollout.script.switch = [SwitchAnswer(refusal=refusal, scaled=True), SwitchAnswer(epoch=Epoch(5))]
    await rollout.wait_for_promotion(max_regressions=0)

    with pytest.raises(RefusedError):
        await rollout.promote()
    await rollout.edge(SetCondition.READY)
    status = await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    assert status.holding == ""


async def test_new_replicas_have_the_time_of_a_new_green_to_start(rollout: "RunningRollout") -> None:
    await rollout.start(provisioning_deadline="10m")
    await rollout.edge(SetCondition.RUNNING, ready=1)
    await rollout.phase(RolloutPhase.VERIFYING)
    await rollout.skip(timedelta(minutes=9))

    await rollout.edge(SetCondition.RUNNING, ready=1, scaled=True)
    await rollout.skip(timedelta(minutes=9))
    assert (await rollout.status()).phase is RolloutPhase.VERIFYING
    await rollout.skip(timedelta(minutes=2))

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.FAILED


class _HoldsTheStepIntoAwaiting(asyncio.Event):
    """Holds the second phase that a rollout enters in flight until it is set."""

    def __init__(self, rollout: "RunningRollout") -> None:
        super().__init__()
        self._rollout = rollout

    def is_set(self) -> bool:
        """Whether a step may end."""
        return super().is_set() or self._rollout.script.names().count("enter_phase") < 2


async def test_a_dip_that_is_over_when_the_rollout_looks_still_starts_the_delay_anew(
    rollout: "RunningRollout",
) -> None:
    """Both edges come while a step is in flight, as they do while no worker runs."""
    held = rollout.script.holds["enter_phase"] = _HoldsTheStepIntoAwaiting(rollout)
    await rollout.start(auto_promote=True, promote_after="1h")
    await rollout.edge(SetCondition.READY)
    await rollout.until(lambda: rollout.script.names().count("enter_phase") == 2)
    await rollout.edge(SetCondition.RUNNING)
    await rollout.edge(SetCondition.READY)
    held.set()
    await rollout.until(lambda: rollout.script.names().count("enter_phase") == 4)

    phases = [step.phase for step in rollout.script.inputs("enter_phase")]
    assert phases[1:] == [RolloutPhase.AWAITING_PROMOTION, RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION]
    assert "switch" not in rollout.script.names()
