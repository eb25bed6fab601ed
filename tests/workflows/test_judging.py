"""A message that does not count leaves the rollout as it was; whoever else asked is heard."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from celadon.domain.language.commands import PromoteState
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import Judged, SwitchAnswer

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

UNSIGNED = Refusal(code=RefusalCode.UNSIGNED, message="nobody vouches for the sender", next_step="use the API")
NOT_COUNTED = SwitchAnswer(refusal=UNSIGNED, message_refused=True)


async def test_a_promotion_that_does_not_count_leaves_green_at_the_gate(rollout: "RunningRollout") -> None:
    rollout.script.switch = [NOT_COUNTED, SwitchAnswer(epoch=Epoch(5))]
    await rollout.wait_for_promotion(max_regressions=0)
    before = await rollout.status()

    with pytest.raises(RefusedError) as refused:
        await rollout.promote(by="eve")
    after = await rollout.status()

    assert refused.value.refusal == UNSIGNED
    assert (after.phase, after.since, after.holding) == (before.phase, before.since, "")
    assert (await rollout.promote(by="ann")).state is PromoteState.SWITCHED


async def test_a_promotion_that_does_not_count_takes_nobody_elses_along(rollout: "RunningRollout") -> None:
    rollout.script.switch = [NOT_COUNTED, SwitchAnswer(epoch=Epoch(5))]
    await rollout.start()
    await rollout.edge(SetCondition.RUNNING)
    await rollout.phase(RolloutPhase.VERIFYING)
    await rollout.until_nothing_is_in_flight()
    held = rollout.script.hold("enter_phase")
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    eve = asyncio.create_task(rollout.promote(by="eve"))
    await rollout.until_event("WORKFLOW_EXECUTION_UPDATE_ACCEPTED", 1)
    ann = asyncio.create_task(rollout.promote(by="ann"))
    await rollout.until_event("WORKFLOW_EXECUTION_UPDATE_ACCEPTED", 2)
    held.set()

    with pytest.raises(RefusedError):
        await eve
    assert (await ann).state is PromoteState.SWITCHED
    assert [step.by for step in rollout.script.inputs("switch")] == ["eve", "ann"]


async def test_an_abort_that_does_not_count_leaves_the_rollout_where_it_was(rollout: "RunningRollout") -> None:
    rollout.script.judge = [Judged(refusals=(UNSIGNED,)), Judged(refusals=(None,))]
    await rollout.wait_for_promotion()

    with pytest.raises(RefusedError) as refused:
        await rollout.abort(by="eve")
    assert refused.value.refusal == UNSIGNED
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    assert "drain" not in rollout.script.names()

    assert (await rollout.abort(by="ann")).outcome is RolloutOutcome.ABORTED


async def test_a_cancel_counts_beside_an_abort_that_does_not(rollout: "RunningRollout") -> None:
    rollout.script.judge = [Judged(refusals=(UNSIGNED,))]
    held = rollout.script.hold("judge")
    await rollout.wait_for_promotion()

    eve = asyncio.create_task(rollout.abort(by="eve"))
    await rollout.until(lambda: "judge" in rollout.script.names())
    await rollout.handle.cancel()
    await rollout.until_event("WORKFLOW_EXECUTION_CANCEL_REQUESTED")
    held.set()

    with pytest.raises(RefusedError):
        await eve
    assert (await rollout.ended()).status == "cancelled"


async def test_a_rollback_that_does_not_count_leaves_blue_baking_for_the_next(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [NOT_COUNTED, SwitchAnswer(epoch=Epoch(6))]
    await rollout.bake()

    with pytest.raises(RefusedError):
        await rollout.rollback(by="eve")
    assert (await rollout.status()).phase is RolloutPhase.BAKING

    assert (await rollout.rollback(by="ann")).outcome is RolloutOutcome.ROLLED_BACK
