"""Abort, rollback and cancellation, in every phase."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from celadon.domain.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.messages import AbortAnswer
from celadon.domain.names import Epoch
from celadon.domain.states import RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.steps import CloseStep, DrainEnd, SwitchAnswer

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

GREEN = 2
BLUE = 1


async def _outcome(rollout: "RunningRollout") -> RolloutOutcome:
    ended = await rollout.ended()
    assert ended.result is not None, ended
    outcome: RolloutOutcome = ended.result.outcome
    return outcome


def _drained(rollout: "RunningRollout") -> list[int]:
    steps: list[CloseStep] = rollout.script.inputs("drain")
    return [step.route_set for step in steps]


async def test_an_abort_while_green_starts_closes_green(rollout: "RunningRollout") -> None:
    await rollout.start()

    answer = await rollout.abort(by="ann", reason="wrong weights")

    assert answer == AbortAnswer(outcome=RolloutOutcome.ABORTED)
    assert await _outcome(rollout) is RolloutOutcome.ABORTED
    assert _drained(rollout) == [GREEN]
    await rollout.record("aborted")


async def test_an_abort_while_green_is_verified_closes_green(rollout: "RunningRollout") -> None:
    await rollout.start()
    await rollout.edge(SetCondition.RUNNING)
    await rollout.phase(RolloutPhase.VERIFYING)

    await rollout.abort()

    assert await _outcome(rollout) is RolloutOutcome.ABORTED
    assert "switch" not in rollout.script.names()


async def test_an_abort_at_the_gate_closes_green_and_leaves_blue(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    await rollout.handle.signal("abort", {"by": "ann"})

    assert await _outcome(rollout) is RolloutOutcome.ABORTED
    assert _drained(rollout) == [GREEN]


async def test_an_abort_during_the_switch_switches_back_after_the_commit(rollout: "RunningRollout") -> None:
    release = rollout.script.hold("switch")
    await rollout.wait_for_promotion()
    await rollout.handle.signal("promote")
    await rollout.until(lambda: "switch" in rollout.script.names())

    await rollout.handle.signal("abort")
    release.set()

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    assert rollout.script.names().count("switch_back") == 1
    assert _drained(rollout) == [GREEN]


async def test_an_abort_during_a_switch_that_is_refused_closes_green(rollout: "RunningRollout") -> None:
    too_few = Refusal(code=RefusalCode.NO_HEALTHY_GREEN, message="too few")
    rollout.script.switch = [SwitchAnswer(refusal=too_few)]
    release = rollout.script.hold("switch")
    await rollout.wait_for_promotion()
    await rollout.handle.signal("promote")
    await rollout.until(lambda: "switch" in rollout.script.names())

    await rollout.handle.signal("abort")
    release.set()

    assert await _outcome(rollout) is RolloutOutcome.ABORTED
    assert "switch_back" not in rollout.script.names()


async def test_a_rollback_during_the_bake_returns_to_blue(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SwitchAnswer(epoch=Epoch(6), acknowledged_by=("one",), ms=3.0)]
    await rollout.bake()

    answer = await rollout.rollback(by="ann", reason="answers are wrong")

    assert (answer.outcome, answer.epoch, answer.acknowledged_by) == (RolloutOutcome.ROLLED_BACK, 6, ("one",))
    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    drains: list[CloseStep] = rollout.script.inputs("drain")
    assert [(step.route_set, step.needs_acknowledgement) for step in drains] == [(GREEN, 6)]
    await rollout.record("rolled-back")


async def test_a_rollback_while_blue_drains_reopens_blue(rollout: "RunningRollout") -> None:
    release = rollout.script.hold("drain")
    rollout.script.drain = [DrainEnd(reopened=True), DrainEnd()]
    await rollout.bake(bake="0s")
    await rollout.until(lambda: "drain" in rollout.script.names())

    answer = await rollout.rollback()
    release.set()

    assert answer.outcome is RolloutOutcome.ROLLED_BACK
    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    assert _drained(rollout) == [BLUE, GREEN]


async def test_a_rollback_that_blue_cannot_take_is_refused_and_the_drain_goes_on(rollout: "RunningRollout") -> None:
    release = rollout.script.hold("drain")
    sick = Refusal(code=RefusalCode.NO_HEALTHY_BLUE, message="too few healthy replicas of blue: 0")
    rollout.script.switch_back = [SwitchAnswer(refusal=sick)]
    await rollout.bake(bake="0s")
    await rollout.until(lambda: "drain" in rollout.script.names())

    with pytest.raises(RefusedError) as refused:
        await rollout.rollback()
    release.set()

    assert refused.value.refusal.code is RefusalCode.NO_HEALTHY_BLUE
    assert await _outcome(rollout) is RolloutOutcome.PROMOTED


async def test_a_rollback_before_the_switch_is_refused(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    with pytest.raises(RefusedError) as refused:
        await rollout.rollback()

    assert refused.value.refusal.code is RefusalCode.NO_BLUE
    assert "celadon abort" in refused.value.refusal.next_step


async def test_a_first_deployment_has_no_blue_to_go_back_to(rollout: "RunningRollout") -> None:
    rollout.script.blue, rollout.script.gated = None, False
    release = rollout.script.hold("finish")
    await rollout.start()
    await rollout.edge(SetCondition.READY)
    await rollout.until(lambda: "finish" in rollout.script.names())

    with pytest.raises(RefusedError) as refused:
        await rollout.abort()
    release.set()

    assert refused.value.refusal.code is RefusalCode.ROLLOUT_ENDED
    assert await _outcome(rollout) is RolloutOutcome.PROMOTED


async def test_a_cancel_at_the_gate_closes_green_and_ends_as_cancelled(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    await rollout.handle.cancel()

    assert (await rollout.ended()).status == "cancelled"
    assert _drained(rollout) == [GREEN]
    assert rollout.script.inputs("finish")[0].outcome is RolloutOutcome.ABORTED


async def test_a_cancel_during_the_switch_believes_the_table_and_switches_back(rollout: "RunningRollout") -> None:
    release = rollout.script.hold("switch")
    await rollout.wait_for_promotion()
    await rollout.handle.signal("promote")
    await rollout.until(lambda: "switch" in rollout.script.names())

    await rollout.handle.cancel()
    await rollout.until_abort_is_recorded()
    release.set()

    assert (await rollout.ended()).status == "cancelled"
    assert "switch_back" in rollout.script.names()
    assert _drained(rollout) == [GREEN]
    assert rollout.script.inputs("finish")[0].outcome is RolloutOutcome.ROLLED_BACK
    await rollout.record("cancelled-during-the-switch")


async def test_a_cancel_during_the_bake_switches_back(rollout: "RunningRollout") -> None:
    await rollout.bake()

    await rollout.handle.cancel()

    assert (await rollout.ended()).status == "cancelled"
    assert rollout.script.inputs("finish")[0].outcome is RolloutOutcome.ROLLED_BACK


async def test_a_cancel_that_blue_cannot_take_finishes_the_drain(rollout: "RunningRollout") -> None:
    sick = Refusal(code=RefusalCode.NO_HEALTHY_BLUE, message="too few healthy replicas of blue: 0")
    rollout.script.switch_back = [SwitchAnswer(refusal=sick)]
    await rollout.bake()

    await rollout.handle.cancel()

    assert (await rollout.ended()).status == "cancelled"
    assert _drained(rollout) == [BLUE]
    assert rollout.script.inputs("finish")[0].outcome is RolloutOutcome.PROMOTED


async def test_green_that_cannot_start_fails_the_rollout_with_its_result(rollout: "RunningRollout") -> None:
    await rollout.start()

    await rollout.edge(SetCondition.FAILED, last_error="exit code 1: no such model")

    ended = await rollout.ended()
    assert ended.status == "failed"
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.FAILED
    assert "no such model" in ended.failure
    assert _drained(rollout) == [GREEN]
    await rollout.record("green-could-not-start")


async def test_green_that_is_never_healthy_fails_at_the_provisioning_deadline(rollout: "RunningRollout") -> None:
    await rollout.start(provisioning_deadline="10m")

    await rollout.skip(timedelta(minutes=11))

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.FAILED
    assert "10m" in ended.result.reason


async def test_blue_is_not_drained_while_a_live_router_is_silent(rollout: "RunningRollout") -> None:
    silent = Refusal(code=RefusalCode.ROUTERS_SILENT, message="routers have not acknowledged epoch 5: two")
    rollout.script.drain = [DrainEnd(refusal=silent, silent=("two",)), DrainEnd()]
    await rollout.bake(bake="0s")
    await rollout.until(lambda: rollout.script.names().count("drain") == 1)
    status = await rollout.phase(RolloutPhase.BAKING)
    assert status.silent_routers == ("two",)

    await rollout.handle.signal("routers_acknowledged", {"epoch": 5})

    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    assert _drained(rollout) == [BLUE, BLUE]


async def test_an_abort_works_while_a_router_is_silent(rollout: "RunningRollout") -> None:
    silent = Refusal(code=RefusalCode.ROUTERS_SILENT, message="routers have not acknowledged epoch 5: two")
    rollout.script.drain = [DrainEnd(refusal=silent, silent=("two",)), DrainEnd()]
    await rollout.bake(bake="0s")
    await rollout.until(lambda: rollout.script.names().count("drain") == 1)
    await rollout.phase(RolloutPhase.BAKING)

    answer = await rollout.abort()

    assert answer.outcome is RolloutOutcome.ROLLED_BACK
    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
