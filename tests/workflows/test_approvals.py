"""A rollout that several people must approve: each promotion is an approval, and what the table answers is shown."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from temporalio.client import Client

from celadon.client.rollouts import RolloutClient
from celadon.domain.language import contracts
from celadon.domain.language.approval import Approval
from celadon.domain.language.commands import BakeCommand, JudgedAnswer, PromoteState, Withdrawn
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.names import Epoch
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import Judged, PhaseStep, SwitchAnswer
from tests.workflows.conftest import FOR_EVER

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

TWO = {"approvals": {"count": 2}}
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANN = Approval(by="ann", issuer="idp", door=Channel.API, at=AT)
BEN = ANN.model_copy(update={"by": "ben"})
ONE = SwitchAnswer(recorded=True, approvals=(ANN,))
BOTH = SwitchAnswer(epoch=Epoch(5), approvals=(ANN, BEN))
UNSIGNED = Refusal(code=RefusalCode.UNSIGNED, message="an unsigned promotion is no approval", next_step="sign it")
MISSING = SwitchAnswer(
    refusal=Refusal(code=RefusalCode.APPROVALS_MISSING, message="1 of 2 approved", next_step="approve"),
    approvals=(ANN,),
)


def promotions(rollout: "RunningRollout") -> list[str]:
    return [name for name in rollout.script.names() if name == "switch"]


async def withdraw(rollout: "RunningRollout", client: Client, by: str = "ann") -> JudgedAnswer:
    command = parse_payload(BakeCommand, FOR_EVER | {"by": by})
    return await RolloutClient(client).ask(rollout.deployment, contracts.WITHDRAW, command)


async def test_the_first_of_two_is_answered_recorded_and_the_last_one_switches(rollout: "RunningRollout") -> None:
    rollout.script.switch = [ONE, BOTH]
    await rollout.wait_for_promotion(**TWO, bake="1m")

    first = await rollout.promote(by="ann")
    assert (first.state, first.approvals, first.needed, first.approved_by) == (PromoteState.RECORDED, 1, 2, ("ann",))
    status = await rollout.status()
    assert (status.phase, status.approvals, status.approvals_needed) == (RolloutPhase.AWAITING_PROMOTION, 1, 2)
    assert status.approved == (ANN,)
    assert status.decision == "approval by ann (update)"

    second = await rollout.promote(by="ben")
    assert (second.state, second.approvals, second.needed) == (PromoteState.SWITCHED, 2, 2)
    await rollout.phase(RolloutPhase.BAKING)
    await rollout.skip(timedelta(minutes=2))
    assert (await rollout.ended()).result is not None
    await rollout.record("promoted-by-two-approvals")


async def test_a_repeat_of_an_approval_gets_its_first_answer(rollout: "RunningRollout") -> None:
    rollout.script.switch = [ONE, BOTH]
    await rollout.wait_for_promotion(**TWO)
    for _ in range(2):
        answer = await rollout.handle.execute_update(contracts.PROMOTE, {"by": "ann", **FOR_EVER}, id="the-same")
        assert answer["state"] == "recorded"
    assert len(promotions(rollout)) == 1


async def test_approvals_of_one_task_are_recorded_one_after_the_other(rollout: "RunningRollout") -> None:
    rollout.script.switch = [ONE, BOTH]
    await rollout.wait_for_promotion(**TWO)

    answers = await asyncio.gather(rollout.promote(by="ann"), rollout.promote(by="ben"))

    assert {answer.state for answer in answers} == {PromoteState.RECORDED, PromoteState.SWITCHED}
    assert len(promotions(rollout)) == 2


async def test_an_approval_by_signal_is_recorded_and_shown(rollout: "RunningRollout") -> None:
    rollout.script.switch = [ONE, BOTH]
    await rollout.wait_for_promotion(**TWO)

    await rollout.handle.signal(contracts.PROMOTE, {"by": "ann"})
    await rollout.until_status(lambda status: status.approvals == 1)
    await rollout.handle.signal(contracts.PROMOTE, {"by": "ben"})

    await rollout.phase(RolloutPhase.BAKING)


async def test_somebody_may_approve_while_another_approval_is_being_recorded(rollout: "RunningRollout") -> None:
    rollout.script.switch = [ONE, BOTH]
    await rollout.wait_for_promotion(**TWO)
    recording = rollout.script.hold("switch")
    first = asyncio.create_task(rollout.promote(by="ann"))
    await rollout.phase(RolloutPhase.SWITCHING)

    second = asyncio.create_task(rollout.promote(by="ben"))
    await rollout.until_status(lambda status: status.phase is RolloutPhase.SWITCHING)
    await rollout.until_event("WORKFLOW_EXECUTION_UPDATE_ACCEPTED", 2)
    recording.set()

    assert (await first).state is PromoteState.RECORDED
    assert (await second).state is PromoteState.SWITCHED


async def test_who_approves_during_the_last_approval_is_told_that_it_is_decided(rollout: "RunningRollout") -> None:
    rollout.script.switch = [BOTH]
    await rollout.wait_for_promotion(**TWO)
    switching = rollout.script.hold("switch")
    last = asyncio.create_task(rollout.promote(by="ben"))
    await rollout.phase(RolloutPhase.SWITCHING)
    late = asyncio.create_task(rollout.promote(by="carl"))
    await rollout.until_event("WORKFLOW_EXECUTION_UPDATE_ACCEPTED", 2)
    switching.set()

    assert (await last).state is PromoteState.SWITCHED
    with pytest.raises(RefusedError) as refused:
        await late
    assert refused.value.refusal.code is RefusalCode.ALREADY_DECIDED
    assert len(promotions(rollout)) == 1


async def test_an_unsigned_promotion_is_refused_and_the_next_person_asks_in_turn(rollout: "RunningRollout") -> None:
    rollout.script.switch = [SwitchAnswer(refusal=UNSIGNED, message_refused=True, approvals=(ANN,)), BOTH]
    await rollout.wait_for_promotion(**TWO)

    with pytest.raises(RefusedError) as refused:
        await rollout.promote(by="eve")

    assert refused.value.refusal.code is RefusalCode.UNSIGNED
    assert (await rollout.status()).approved == (ANN,)
    assert (await rollout.promote(by="ben")).state is PromoteState.SWITCHED


async def test_a_timer_that_is_due_is_held_until_the_last_person_approves(rollout: "RunningRollout") -> None:
    rollout.script.switch = [MISSING, BOTH]
    await rollout.wait_for_promotion(**TWO, auto_promote=True, promote_after="1h")
    assert [timer.name for timer in (await rollout.status()).timers] == ["automatic promotion"]

    await rollout.skip(timedelta(hours=1, minutes=1))

    status = await rollout.until_status(lambda status: bool(status.holding))
    assert (status.phase, status.timers) == (RolloutPhase.AWAITING_PROMOTION, ())
    assert "1 of 2 approved (ann at 2026-03-01 12:00:00 UTC); 1 approval is missing" in status.holding
    assert "by another verified person who has the right to promote" in status.holding
    assert f"the timer is due and waits for them: celadon promote {rollout.deployment}" in status.holding
    await rollout.skip(timedelta(days=3))
    assert len(promotions(rollout)) == 1
    assert "approvals_missing" in rollout.script.notes()

    await rollout.promote(by="ben")
    await rollout.phase(RolloutPhase.BAKING)


async def test_the_deadline_runs_on_while_a_timer_is_held_by_approvals(rollout: "RunningRollout") -> None:
    rollout.script.switch = [MISSING]
    await rollout.wait_for_promotion(**TWO, auto_promote=True, promotion_deadline="2h")

    status = await rollout.until_status(lambda status: bool(status.holding))
    assert [timer.name for timer in status.timers] == ["promotion deadline"]
    await rollout.skip(timedelta(hours=2, minutes=1))

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.EXPIRED


async def test_a_deadline_that_promotes_is_held_by_approvals_too(rollout: "RunningRollout") -> None:
    rollout.script.switch = [MISSING]
    await rollout.wait_for_promotion(**TWO, promotion_deadline="2h", on_deadline="promote")

    await rollout.skip(timedelta(hours=2, minutes=1))

    status = await rollout.until_status(lambda status: bool(status.holding))
    assert (status.phase, status.timers) == (RolloutPhase.AWAITING_PROMOTION, ())


async def test_a_regression_spends_the_approvals_and_begins_the_delay_anew(rollout: "RunningRollout") -> None:
    rollout.script.switch = [MISSING, ONE]
    await rollout.wait_for_promotion(**TWO, auto_promote=True, promote_after="1h")
    await rollout.skip(timedelta(hours=1, minutes=1))
    await rollout.until_status(lambda status: bool(status.holding))

    await rollout.edge(SetCondition.RUNNING, ready=1)
    await rollout.phase(RolloutPhase.VERIFYING)
    await rollout.edge(SetCondition.READY)
    status = await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    assert (status.approvals, status.holding) == (0, "")
    assert [timer.name for timer in status.timers] == ["automatic promotion"]
    spent = [step.spends_approvals for _, step in rollout.script.asked if isinstance(step, PhaseStep)]
    assert spent.count(True) == 1


async def test_a_green_that_regresses_while_one_approval_is_recorded_needs_them_all_anew(
    rollout: "RunningRollout",
) -> None:
    rollout.script.switch = [ONE, BOTH]
    await rollout.wait_for_promotion(**TWO)
    recording = rollout.script.hold("switch")
    first = asyncio.create_task(rollout.promote(by="ann"))
    await rollout.phase(RolloutPhase.SWITCHING)

    await rollout.edge(SetCondition.RUNNING, ready=1)
    await rollout.edge(SetCondition.READY)
    second = asyncio.create_task(rollout.promote(by="ben"))
    await rollout.until_event("WORKFLOW_EXECUTION_UPDATE_ACCEPTED", 2)
    recording.set()

    assert (await first).state is PromoteState.RECORDED
    with pytest.raises(RefusedError) as refused:
        await second
    assert refused.value.refusal.code is RefusalCode.NO_HEALTHY_GREEN
    status = await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    assert status.approvals == 0
    assert len(promotions(rollout)) == 1
    spent = [step.spends_approvals for _, step in rollout.script.asked if isinstance(step, PhaseStep)]
    assert spent.count(True) == 1
    await rollout.abort(by="ann")
    await rollout.ended()
    await rollout.record("regressed-while-approved")


async def test_a_green_that_grows_because_it_was_scaled_spends_no_approvals(rollout: "RunningRollout") -> None:
    rollout.script.switch = [ONE]
    await rollout.wait_for_promotion(**TWO)
    await rollout.promote(by="ann")

    await rollout.edge(SetCondition.RUNNING, ready=3, scaled=True)
    status = await rollout.phase(RolloutPhase.VERIFYING)

    assert status.approvals == 1
    assert not any(step.spends_approvals for _, step in rollout.script.asked if isinstance(step, PhaseStep))


async def test_a_re_check_that_refuses_shows_that_the_approvals_are_spent(rollout: "RunningRollout") -> None:
    sick = Refusal(code=RefusalCode.NO_HEALTHY_GREEN, message="too few healthy replicas", next_step="wait")
    rollout.script.switch = [ONE, SwitchAnswer(refusal=sick), ONE]
    await rollout.wait_for_promotion(**TWO)
    await rollout.promote(by="ann")

    with pytest.raises(RefusedError):
        await rollout.promote(by="ben")

    status = await rollout.phase(RolloutPhase.VERIFYING)
    assert (status.approvals, status.approved) == (0, ())


async def test_one_takes_back_the_own_approval(rollout: "RunningRollout", client: Client) -> None:
    rollout.script.switch = [ONE]
    rollout.script.judge = [Judged(refusals=(None,), approvals=())]
    await rollout.wait_for_promotion(**TWO)
    await rollout.promote(by="ann")

    answer = await withdraw(rollout, client)

    assert (answer.withdrawn, answer.approvals, answer.needed) == (Withdrawn.APPROVAL, 0, 2)
    assert (await rollout.status()).approvals == 0
    assert "withdrawal_requested" in rollout.script.notes()
    await rollout.record("approval-withdrawn")


async def test_a_withdrawal_of_what_is_somebody_elses_is_refused(rollout: "RunningRollout", client: Client) -> None:
    refusal = Refusal(code=RefusalCode.NO_OWN_APPROVAL, message="no approval by eve counts", next_step="look")
    rollout.script.switch = [ONE]
    rollout.script.judge = [Judged(refusals=(refusal,), approvals=(ANN,))]
    await rollout.wait_for_promotion(**TWO)
    await rollout.promote(by="ann")

    with pytest.raises(RefusedError) as refused:
        await withdraw(rollout, client, by="eve")

    assert refused.value.refusal == refusal
    assert (await rollout.status()).approvals == 1


async def test_without_approvals_in_the_policy_there_is_nothing_to_withdraw_before_the_switch(
    rollout: "RunningRollout", client: Client
) -> None:
    await rollout.wait_for_promotion()

    with pytest.raises(RefusedError) as refused:
        await withdraw(rollout, client)

    assert refused.value.refusal.code is RefusalCode.NO_PENDING_ABORT


async def test_a_forced_approval_is_recorded_while_green_is_verified(rollout: "RunningRollout") -> None:
    forced = tuple(one.model_copy(update={"force": True}) for one in (ANN, BEN))
    rollout.script.switch = [
        SwitchAnswer(recorded=True, approvals=forced[:1]),
        SwitchAnswer(epoch=Epoch(5), approvals=forced),
    ]
    await rollout.start(**TWO)
    await rollout.edge(SetCondition.RUNNING, ready=3)
    await rollout.phase(RolloutPhase.VERIFYING)

    first = await rollout.promote(by="ann", force=True, reason="blue is down")
    assert (first.state, first.approvals) == (PromoteState.RECORDED, 1)
    assert (await rollout.status()).phase is RolloutPhase.VERIFYING

    assert (await rollout.promote(by="ben", force=True, reason="so it is")).state is PromoteState.SWITCHED


async def test_an_abort_needs_no_approval(rollout: "RunningRollout") -> None:
    rollout.script.switch = [ONE]
    await rollout.wait_for_promotion(**TWO)
    await rollout.promote(by="ann")

    await rollout.abort(by="ben")

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED


async def test_approvals_go_on_counting_in_a_new_run(rollout: "RunningRollout") -> None:
    rollout.script.switch = [ONE, BOTH]
    await rollout.wait_for_promotion(**TWO, promotion_deadline="90d")
    await rollout.promote(by="ann")
    first = (await rollout.handle.describe()).run_id

    await rollout.skip(timedelta(days=16))

    assert (await rollout.handle.describe()).run_id != first
    assert (await rollout.status()).approved == (ANN,)
    assert (await rollout.promote(by="ben")).state is PromoteState.SWITCHED
