"""Who may promote when, and what the caller is told."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from celadon.domain.language.commands import PromoteState
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import SwitchAnswer, SwitchStep

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout


async def test_an_update_promotes_and_is_told_epoch_and_routers(rollout: "RunningRollout") -> None:
    rollout.script.switch = [SwitchAnswer(epoch=Epoch(5), acknowledged_by=("one", "two"), ms=12.5)]
    await rollout.wait_for_promotion()

    answer = await rollout.promote(by="ann", revision=2, rollout=7, reason="looks good")

    assert (answer.state, answer.epoch, answer.acknowledged_by) == (PromoteState.SWITCHED, 5, ("one", "two"))
    step: SwitchStep = rollout.script.inputs("switch")[0]
    assert (step.by, step.door, step.reason) == ("ann", Channel.UPDATE, "looks good")
    await rollout.skip(timedelta(minutes=6))
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    await rollout.record("promoted-by-update")


async def test_a_signal_without_input_promotes_the_green_that_waits(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    await rollout.handle.signal("promote")

    await rollout.phase(RolloutPhase.BAKING)
    await rollout.skip(timedelta(minutes=6))
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    await rollout.record("promoted-by-signal")


async def test_the_timer_promotes_after_the_delay_and_not_before(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")

    await rollout.skip(timedelta(minutes=59))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION

    await rollout.skip(timedelta(minutes=2))
    await rollout.phase(RolloutPhase.BAKING)
    assert rollout.script.inputs("switch")[0].door is Channel.TIMER
    await rollout.skip(timedelta(minutes=6))
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    await rollout.record("promoted-by-timer")


async def test_the_timer_promotes_at_the_moment_and_not_before(rollout: "RunningRollout") -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=30)
    await rollout.wait_for_promotion(auto_promote=True, promote_at=at.isoformat())

    [timer] = (await rollout.status()).timers
    assert timer.fires_at == at
    await rollout.skip(timedelta(hours=29))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION

    await rollout.skip(timedelta(minutes=62))
    await rollout.phase(RolloutPhase.BAKING)
    assert rollout.script.inputs("switch")[0].reason == f"auto_promote, at {at:%Y-%m-%d %H:%M:%S} UTC"
    await rollout.skip(timedelta(minutes=6))
    await rollout.ended()
    await rollout.record("promoted-at-a-moment")


async def test_a_person_need_not_wait_for_the_delay(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")

    answer = await rollout.promote()

    assert answer.state is PromoteState.SWITCHED


async def test_a_regression_starts_the_delay_anew(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    await rollout.skip(timedelta(minutes=50))

    await rollout.edge(SetCondition.RUNNING)
    await rollout.phase(RolloutPhase.VERIFYING)
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    await rollout.skip(timedelta(minutes=50))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    await rollout.skip(timedelta(minutes=11))
    await rollout.phase(RolloutPhase.BAKING)
    await rollout.record("green-regressed")


async def test_after_too_many_regressions_timers_stop_and_a_person_decides(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h", max_regressions=0)
    await rollout.edge(SetCondition.RUNNING)
    await rollout.phase(RolloutPhase.VERIFYING)
    await rollout.edge(SetCondition.READY)
    status = await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    assert status.timers == ()
    assert "green regressed 1 times, more than max_regressions (0)" in status.holding
    assert status.holding.startswith("since ")
    # By this evidence people are told.
    assert rollout.script.evidence("regressed") == [{"held_by": "regressions"}]
    await rollout.skip(timedelta(days=2))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION

    assert (await rollout.promote()).state is PromoteState.SWITCHED


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ({"revision": 3}, RefusalCode.WRONG_REVISION),
        ({"rollout": 8}, RefusalCode.WRONG_ROLLOUT),
        ({"force": True}, RefusalCode.FORCE_NEEDS_REASON),
        ({"valid_until": "2026-01-01T00:00:00Z"}, RefusalCode.TOO_LATE),
    ],
    ids=["another revision", "another rollout", "force without a reason", "too late"],
)
async def test_another_promotion_than_the_one_that_waits_is_refused(
    rollout: "RunningRollout",
    command: dict[str, object],
    code: RefusalCode,
) -> None:
    await rollout.wait_for_promotion()

    with pytest.raises(RefusedError) as refused:
        await rollout.promote(**command)

    assert refused.value.refusal.code is code
    assert "switch" not in rollout.script.names()


async def test_a_promotion_before_green_is_verified_is_refused_and_not_stored_up(rollout: "RunningRollout") -> None:
    await rollout.start()

    with pytest.raises(RefusedError) as refused:
        await rollout.promote()
    await rollout.handle.signal("promote")
    await rollout.edge(SetCondition.READY)
    status = await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    assert refused.value.refusal.code is RefusalCode.NOT_AWAITING_PROMOTION
    assert [one.refusal.code for one in status.refused] == [RefusalCode.NOT_AWAITING_PROMOTION]
    assert "switch" not in rollout.script.names()
    assert "message_refused" in rollout.script.notes()


async def test_a_second_promotion_after_the_decision_is_refused(rollout: "RunningRollout") -> None:
    await rollout.bake()

    with pytest.raises(RefusedError) as refused:
        await rollout.promote()

    assert refused.value.refusal.code is RefusalCode.ALREADY_DECIDED


async def test_the_second_of_two_promoters_is_told_who_won_and_when(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    assert (await rollout.promote(by="ann")).decided_by == "ann"
    since = (await rollout.status()).since

    with pytest.raises(RefusedError) as refused:
        await rollout.promote(by="ben")

    assert refused.value.refusal.code is RefusalCode.ALREADY_DECIDED
    told = refused.value.refusal.message
    assert told.startswith("the promotion is already decided by ann (update) at ")
    assert f"{since:%Y-%m-%d %H:%M}" in told


async def test_two_promotions_of_one_moment_share_one_switch(rollout: "RunningRollout") -> None:
    release = rollout.script.hold("enter_phase")
    await rollout.start()
    await rollout.edge(SetCondition.READY)
    await rollout.until(lambda: "enter_phase" in rollout.script.names())
    release.set()
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    answers = await asyncio.gather(rollout.promote(by="ann"), rollout.promote(by="bob"), return_exceptions=True)

    given = [one for one in answers if not isinstance(one, BaseException)]
    assert given
    assert {one.epoch for one in given} == {5}
    assert len({one.decided_by for one in given}) == 1
    assert {one.decided_by for one in given} <= {"ann", "bob"}
    for one in answers:
        if isinstance(one, RefusedError):
            assert f"already decided by {given[0].decided_by} " in one.refusal.message
    assert rollout.script.names().count("switch") == 1


async def test_a_switch_that_the_table_refuses_spends_the_decision(rollout: "RunningRollout") -> None:
    too_few = Refusal(code=RefusalCode.NO_HEALTHY_GREEN, message="too few healthy replicas of green: 2")
    rollout.script.switch = [SwitchAnswer(refusal=too_few), SwitchAnswer(epoch=Epoch(5))]
    await rollout.wait_for_promotion()

    with pytest.raises(RefusedError) as refused:
        await rollout.promote()

    assert refused.value.refusal.code is RefusalCode.NO_HEALTHY_GREEN
    await rollout.phase(RolloutPhase.VERIFYING)
    await rollout.until(lambda: "ask_for_edge" in rollout.script.names())
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    assert (await rollout.promote()).state is PromoteState.SWITCHED
    assert "promotion_refused" in rollout.script.notes()


async def test_a_first_deployment_goes_live_without_a_gate(rollout: "RunningRollout") -> None:
    rollout.script.blue, rollout.script.gated = None, False
    await rollout.start()

    await rollout.edge(SetCondition.READY)

    ended = await rollout.ended()
    assert ended.result is not None
    assert (ended.result.outcome, ended.result.from_revision) == (RolloutOutcome.PROMOTED, None)
    assert "drain" not in rollout.script.names()
    await rollout.record("first-deployment")


async def test_nobody_promotes_until_the_deadline_and_the_rollout_expires(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(promotion_deadline="2h")

    await rollout.skip(timedelta(hours=3))

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.EXPIRED
    assert "switch" not in rollout.script.names()
    await rollout.record("expired")


async def test_at_the_deadline_the_policy_can_promote(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(promotion_deadline="2h", on_deadline="promote", bake="1m")

    await rollout.skip(timedelta(hours=3))

    await rollout.until(lambda: "switch" in rollout.script.names())
    assert rollout.script.inputs("switch")[0].door is Channel.TIMER
    assert (await rollout.ended()).result is not None
    await rollout.record("promoted-at-the-deadline")


async def test_at_the_deadline_the_policy_can_hold(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(promotion_deadline="2h", on_deadline="hold")

    await rollout.skip(timedelta(hours=3))

    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    assert (await rollout.promote()).state is PromoteState.SWITCHED
    await rollout.record("held-at-the-deadline")


async def test_a_promotion_that_a_termination_meets_is_told_at_once(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    release = rollout.script.hold("switch")
    promotion = asyncio.create_task(rollout.promote(by="ann"))
    await rollout.until(lambda: "switch" in rollout.script.names())

    await rollout.handle.terminate("the cluster is rebuilt")

    # Long before the caller's patience is over: the same answer would come for ever.
    with pytest.raises(RefusedError, match="ended before it answered") as told:
        await promotion
    assert told.value.refusal.code is RefusalCode.ROLLOUT_ENDED
    release.set()
