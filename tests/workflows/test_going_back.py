"""Abort, rollback and cancellation, in every phase."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from celadon.domain.language.commands import AbortAnswer
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import CloseStep, DrainEnd, SwitchAnswer, SwitchStep
from tests.workflows.conftest import DEADLINE_SECONDS
from tests.workflows.resets import reset_to_task

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


async def test_a_promotion_that_meets_an_abort_is_told_that_the_abort_goes_first(rollout: "RunningRollout") -> None:
    await rollout.start()
    await rollout.edge(SetCondition.RUNNING)
    await rollout.events()
    release = rollout.script.hold("enter_phase")
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    promoting = asyncio.create_task(rollout.promote())
    await rollout.until_a_promotion_is_recorded()
    await rollout.handle.signal("abort", {"by": "bob"})
    await rollout.until_abort_is_recorded()
    release.set()

    with pytest.raises(RefusedError) as refused:
        await promoting
    assert refused.value.refusal.code is RefusalCode.ABORT_REQUESTED
    assert await _outcome(rollout) is RolloutOutcome.ABORTED
    assert "switch" not in rollout.script.names()


async def _send(rollout: "RunningRollout", verb: str, by: str, *, update: bool) -> "asyncio.Task[Any] | None":
    """Promote or abort; return the update, which waits for its answer."""
    if not update:
        await rollout.handle.signal(verb, {"by": by})
        return None
    return asyncio.create_task(rollout.promote(by=by) if verb == "promote" else rollout.abort(by=by))


@pytest.mark.parametrize("update", [False, True], ids=["signal", "update"])
@pytest.mark.parametrize("order", [("promote", "abort"), ("abort", "promote")], ids="-".join)
async def test_of_a_promotion_and_an_abort_in_one_task_the_abort_goes_first(
    rollout: "RunningRollout", order: tuple[str, str], *, update: bool
) -> None:
    await rollout.start()
    await rollout.edge(SetCondition.RUNNING)
    await rollout.events()
    release = rollout.script.hold("enter_phase")
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    # Nothing is decided while the step is in flight: both are there when it has answered.
    sent = {}
    for verb in order:
        sent[verb] = await _send(rollout, verb, verb, update=update)
        if verb == "abort":
            await rollout.until_abort_is_recorded()
        elif order[0] == "promote":
            await rollout.until_a_promotion_is_recorded()
        elif not update:
            # Behind an abort a promotion is refused at once.
            await rollout.until_status(lambda status: bool(status.refused))
    promoting, aborting = sent["promote"], sent["abort"]
    release.set()

    assert await _outcome(rollout) is RolloutOutcome.ABORTED
    assert "switch" not in rollout.script.names()
    if aborting is not None:
        assert (await aborting).outcome is RolloutOutcome.ABORTED
    if promoting is not None:
        with pytest.raises(RefusedError) as refused:
            await promoting
        assert refused.value.refusal.code is RefusalCode.ABORT_REQUESTED


async def test_a_rollback_during_the_bake_returns_to_blue(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SwitchAnswer(epoch=Epoch(6), acknowledged_by=("one",), ms=3.0)]
    await rollout.bake()

    answer = await rollout.rollback(by="ann", reason="answers are wrong")

    assert (answer.outcome, answer.epoch, answer.acknowledged_by) == (RolloutOutcome.ROLLED_BACK, 6, ("one",))
    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    drains: list[CloseStep] = rollout.script.inputs("drain")
    assert [(step.route_set, step.needs_acknowledgement) for step in drains] == [(GREEN, 6)]
    await rollout.record("rolled-back")


async def test_a_second_rollback_during_the_way_back_gets_the_same_answer(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SwitchAnswer(epoch=Epoch(6), acknowledged_by=("one",), ms=3.0)]
    answers = rollout.script.holds["switch_back"] = asyncio.Event()
    await rollout.bake()
    first = asyncio.create_task(rollout.rollback(by="ann"))
    await rollout.until(lambda: "switch_back" in rollout.script.names())
    second = asyncio.create_task(rollout.rollback(by="ben"))
    await _until_both_are_accepted(rollout)

    answers.set()

    assert (await first).epoch == (await second).epoch == 6
    assert rollout.script.names().count("switch_back") == 1


async def _until_both_are_accepted(rollout: "RunningRollout") -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            kinds = [event.event_type for event in (await rollout.handle.fetch_history()).events]
            if kinds.count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED) == 3:  # with the promotion
                return
            await asyncio.sleep(0.02)


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


async def test_a_rollback_that_no_blue_can_ever_take_is_refused_and_the_drain_goes_on(
    rollout: "RunningRollout",
) -> None:
    release = rollout.script.hold("drain")
    gone = Refusal(code=RefusalCode.BLUE_DRAINED, message="blue drains and has no running replica left")
    rollout.script.switch_back = [SwitchAnswer(refusal=gone)]
    await rollout.bake(bake="0s")
    await rollout.until(lambda: "drain" in rollout.script.names())

    with pytest.raises(RefusedError) as refused:
        await rollout.rollback()
    release.set()

    assert refused.value.refusal.code is RefusalCode.BLUE_DRAINED
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


async def test_a_run_that_was_reset_to_before_its_switch_goes_back_as_after_it(rollout: "RunningRollout") -> None:
    """Green is live, says the table, when the run that forgot its switch closes green."""
    rollout.script.drain = [DrainEnd(reopened=True), DrainEnd()]
    await rollout.wait_for_promotion()

    await rollout.abort(by="ann", reason="wrong weights")

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    assert rollout.script.names().count("switch_back") == 1
    drains: list[CloseStep] = rollout.script.inputs("drain")
    assert [(step.route_set, step.needs_acknowledgement) for step in drains] == [(GREEN, None), (GREEN, 6)]


async def test_a_run_that_was_reset_to_before_its_way_back_ends_as_rolled_back(rollout: "RunningRollout") -> None:
    """Blue is live, says the table, when the run that forgot its way back drains blue."""
    rollout.script.drain = [DrainEnd(reopened=True), DrainEnd()]

    await rollout.bake(bake="0s")

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    assert _drained(rollout) == [BLUE, GREEN]


async def test_each_decision_has_a_name_of_its_own(rollout: "RunningRollout") -> None:
    too_few = Refusal(code=RefusalCode.NO_HEALTHY_GREEN, message="too few")
    rollout.script.switch = [SwitchAnswer(refusal=too_few), SwitchAnswer(epoch=Epoch(5))]
    await rollout.wait_for_promotion()
    await rollout.handle.signal("promote")
    await rollout.phase(RolloutPhase.VERIFYING)
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    await rollout.promote()
    await rollout.rollback()

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    steps: list[SwitchStep] = [*rollout.script.inputs("switch"), *rollout.script.inputs("switch_back")]
    assert all(step.decision for step in steps)
    assert len({step.decision for step in steps}) == len(steps) == 3


async def test_a_cancel_that_no_blue_can_ever_take_finishes_the_drain(rollout: "RunningRollout") -> None:
    gone = Refusal(code=RefusalCode.BLUE_DRAINED, message="blue has drained and its replicas have stopped")
    rollout.script.switch_back = [SwitchAnswer(refusal=gone)]
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


async def test_the_result_of_a_failed_rollout_has_the_cause_that_only_the_table_knows(
    rollout: "RunningRollout",
) -> None:
    """A green that stays sick has no edge: its last answer never reaches the workflow."""
    rollout.script.cause = "GET /health: answered 503"
    await rollout.start(provisioning_deadline="10m")
    await rollout.edge(SetCondition.RUNNING)
    await rollout.phase(RolloutPhase.VERIFYING)

    await rollout.skip(timedelta(minutes=11))

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.reason.endswith(": GET /health: answered 503")
    assert ended.result.evidence["last_error"] == "GET /health: answered 503"


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


async def test_a_run_that_was_reset_asks_the_table_anew(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion()
    assert "ask_for_edge" not in rollout.script.names()

    await reset_to_task(client, rollout.handle.id)

    await rollout.until(lambda: "ask_for_edge" in rollout.script.names())
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
