"""A green that is a preview grows once its switch is decided, is verified again, and then switches."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from temporalio.client import Client

from celadon.domain.language import contracts
from celadon.domain.language.approval import Approval
from celadon.domain.language.commands import PauseCommand, PromoteState
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.growth import Growth
from celadon.domain.language.messages import RoomChanged
from celadon.domain.language.names import Epoch
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import AskedForEdge, SwitchAnswer
from tests.workflows.conftest import FOR_EVER, ROLLOUT
from tests.workflows.resets import reset_to_task

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANNS = Growth(by="ann", door=Channel.UPDATE, reason="reviewed", at=AT, wanted=3, seq=2)
TIMERS = ANNS.model_copy(update={"by": "policy", "door": Channel.TIMER, "reason": "auto_promote"})
WHY = "no room for 2 more replicas of chat: its sets have 5, and max_total_replicas is 6"
GROWS = SwitchAnswer(growth=ANNS)
SWITCHED = SwitchAnswer(epoch=Epoch(5))


def refusing(code: RefusalCode, message: str = "because") -> SwitchAnswer:
    return SwitchAnswer(refusal=Refusal(code=code, message=message, next_step="wait"))


async def preview(rollout: "RunningRollout", **policy: object) -> None:
    """Bring a rollout to the gate whose green is one of three; a timer without a delay decides at once."""
    await rollout.start(preview_replicas=1, **policy)
    await rollout.edge(SetCondition.READY, wanted=1)
    await rollout.until_status(
        lambda status: status.phase is RolloutPhase.AWAITING_PROMOTION or status.growth is not None
    )


async def full(rollout: "RunningRollout") -> None:
    """Let all of green be healthy."""
    await rollout.edge(SetCondition.READY)


def steps(rollout: "RunningRollout") -> list[tuple[str, bool, bool]]:
    """Return who asked for each switch, whether with a message, and whether green had grown."""
    return [(step.by, step.message is not None, step.grown) for step in rollout.script.inputs("switch")]


async def test_preview_1_of_3_then_full_then_switch(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS, SWITCHED]
    await preview(rollout, bake="1m")

    answer = await rollout.promote(by="ann", reason="reviewed")
    assert (answer.state, answer.grows_to, answer.epoch) == (PromoteState.GROWING, 3, None)
    status = await rollout.status()
    assert (status.phase, status.growth) == (RolloutPhase.VERIFYING, ANNS)
    assert "green has grown to 3" in status.next_step
    assert [timer.name for timer in status.timers] == ["provisioning deadline"]

    await rollout.edge(SetCondition.RUNNING, ready=1, scaled=True)
    await full(rollout)
    status = await rollout.phase(RolloutPhase.BAKING)
    assert status.growth is None
    assert steps(rollout) == [("ann", True, False), ("ann", False, True)]
    assert [step.phase for step in rollout.script.inputs("enter_phase")][-1] is RolloutPhase.VERIFYING
    await rollout.skip(timedelta(minutes=2))
    assert (await rollout.ended()).result is not None
    await rollout.record("grown-and-promoted")


async def test_what_was_told_of_the_preview_does_not_count_for_the_green_that_grows(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS, SWITCHED]
    await preview(rollout)

    await rollout.promote()
    await rollout.until_nothing_is_in_flight()

    assert len(steps(rollout)) == 1
    assert (await rollout.status()).green is None


async def test_an_edge_of_the_green_that_grows_may_come_before_the_answer(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS, SWITCHED]
    await preview(rollout)
    deciding = rollout.script.hold("switch")
    promotion = asyncio.create_task(rollout.promote())
    await rollout.phase(RolloutPhase.SWITCHING)
    await rollout.edge(SetCondition.RUNNING, ready=1, scaled=True)
    await full(rollout)
    deciding.set()

    assert (await promotion).state is PromoteState.GROWING
    await rollout.phase(RolloutPhase.BAKING)


async def test_a_timer_lets_green_grow_and_switches(rollout: "RunningRollout") -> None:
    rollout.script.switch = [SwitchAnswer(growth=TIMERS), SWITCHED]
    await preview(rollout, auto_promote=True, promote_after="1h")

    await rollout.skip(timedelta(hours=1, minutes=1))
    await rollout.until_status(lambda status: status.growth is not None)
    await full(rollout)

    await rollout.phase(RolloutPhase.BAKING)
    assert steps(rollout) == [("policy", False, False), ("policy", False, True)]


async def test_growth_that_fails_aborts_with_that_reason(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS]
    await preview(rollout, provisioning_deadline="10m")
    await rollout.promote(by="ann")
    await rollout.edge(SetCondition.RUNNING, ready=1, scaled=True, last_error="out of memory")

    await rollout.skip(timedelta(minutes=11))

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED
    assert ended.result.reason == (
        "green did not grow to 3 healthy replicas within 10m (3 of 3 ran, 1 of 3 were healthy; last error: out of "
        "memory)"
    )
    await rollout.record("growth-failed")


async def test_a_green_that_fails_while_it_grows_ends_the_rollout(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS]
    await preview(rollout)
    await rollout.promote()

    await rollout.edge(SetCondition.FAILED, last_error="exit code 1")

    ended = await rollout.ended()
    assert ended.result is None or ended.result.outcome is RolloutOutcome.FAILED
    await rollout.record("green-failed-while-growing")


async def test_a_promotion_while_green_grows_is_told_who_has_decided(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS]
    await preview(rollout)
    await rollout.promote(by="ann")

    for force in (False, True):
        with pytest.raises(RefusedError) as refused:
            await rollout.promote(by="ben", force=force, reason="me too")
        assert refused.value.refusal.code is RefusalCode.ALREADY_DECIDED
        assert "already decided by ann (" in str(refused.value.refusal)
        assert ": green grows to 3" in str(refused.value.refusal)


async def test_an_abort_while_green_grows_closes_it(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS]
    await preview(rollout)
    await rollout.promote()

    await rollout.abort(by="ben")

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED


async def test_an_abort_during_the_switch_after_the_growth_goes_back(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS, SWITCHED]
    await preview(rollout)
    await rollout.promote()
    switching = rollout.script.hold("switch")
    await full(rollout)
    await rollout.phase(RolloutPhase.SWITCHING)
    abort = asyncio.create_task(rollout.abort())
    await rollout.until_abort_is_recorded()
    switching.set()

    assert (await abort).outcome is RolloutOutcome.ROLLED_BACK


@pytest.mark.parametrize(
    "code", [RefusalCode.FROZEN, RefusalCode.KEEPER_SILENT, RefusalCode.APPROVALS_MISSING, RefusalCode.BLUE_CHANGED]
)
async def test_a_switch_that_is_held_after_the_growth_waits_for_a_promotion_again(
    rollout: "RunningRollout", code: RefusalCode
) -> None:
    rollout.script.switch = [GROWS, refusing(code, "chat is frozen"), SWITCHED]
    await preview(rollout)
    await rollout.promote()
    await full(rollout)

    status = await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    await rollout.until_nothing_is_in_flight()
    assert (status.growth, "awaiting_promotion" in rollout.script.notes()) == (None, True)
    assert rollout.script.inputs("enter_phase")[-1].phase is RolloutPhase.AWAITING_PROMOTION
    assert not any(step.spends_approvals for step in rollout.script.inputs("enter_phase"))

    answer = await rollout.promote(by="ben")
    assert answer.state is PromoteState.SWITCHED
    assert steps(rollout)[-1] == ("ben", True, False)


async def test_a_timer_that_was_held_by_a_freeze_after_the_growth_goes_on_when_it_has_ended(
    rollout: "RunningRollout",
) -> None:
    rollout.script.switch = [SwitchAnswer(growth=TIMERS), refusing(RefusalCode.FROZEN), SWITCHED]
    await preview(rollout, auto_promote=True)
    await rollout.until_status(lambda status: status.growth is not None)
    await full(rollout)
    await rollout.until_status(lambda status: status.phase is RolloutPhase.AWAITING_PROMOTION and bool(status.holding))

    await rollout.handle.signal(contracts.GATE_CHANGED, {"rollout": ROLLOUT, "what": "a freeze has ended"})

    await rollout.phase(RolloutPhase.BAKING)
    await rollout.record("frozen-while-growing")


async def test_a_forced_promotion_that_a_freeze_meets_after_the_growth_leaves_the_timers_to_promote(
    rollout: "RunningRollout",
) -> None:
    rollout.script.switch = [GROWS, refusing(RefusalCode.FROZEN), SWITCHED]
    await rollout.start(preview_replicas=1, auto_promote=True, promote_after="1h")
    await rollout.edge(SetCondition.RUNNING, ready=1, wanted=1)
    await rollout.phase(RolloutPhase.VERIFYING)
    answer = await rollout.promote(by="ann", force=True, reason="blue is down")
    assert answer.state is PromoteState.GROWING
    await full(rollout)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    await rollout.handle.signal(contracts.GATE_CHANGED, {"rollout": ROLLOUT, "what": "a freeze has ended"})
    status = await rollout.until_status(lambda status: bool(status.timers))
    assert [timer.name for timer in status.timers] == ["automatic promotion"]
    await rollout.skip(timedelta(hours=1, minutes=1))

    await rollout.phase(RolloutPhase.BAKING)


async def test_the_re_check_may_refuse_a_green_that_has_grown(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS, refusing(RefusalCode.NO_HEALTHY_GREEN), SWITCHED]
    await preview(rollout)
    await rollout.promote()
    await full(rollout)

    status = await rollout.until_status(lambda status: status.growth is None)
    assert status.phase is RolloutPhase.VERIFYING
    await full(rollout)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    assert (await rollout.promote()).state is PromoteState.SWITCHED


async def test_what_was_approved_is_shown_while_green_grows_and_spent_when_the_re_check_refuses(
    rollout: "RunningRollout",
) -> None:
    both = tuple(Approval(by=one, issuer="idp", door=Channel.API, at=AT) for one in ("ann", "ben"))
    recorded = SwitchAnswer(recorded=True, approvals=both[:1])
    sick = refusing(RefusalCode.NO_HEALTHY_GREEN)
    rollout.script.switch = [recorded, SwitchAnswer(growth=ANNS, approvals=both), sick]
    await preview(rollout, approvals={"count": 2})
    await rollout.promote(by="ann")

    last = await rollout.promote(by="ben")
    assert (last.state, last.approvals, last.needed) == (PromoteState.GROWING, 2, 2)
    assert (await rollout.status()).approved == both

    await full(rollout)
    status = await rollout.until_status(lambda status: status.growth is None)
    assert status.approved == ()


async def pause(rollout: "RunningRollout", client: Client) -> None:
    command = parse_payload(PauseCommand, FOR_EVER | {"by": "ben"})
    await client.get_workflow_handle(contracts.workflow_id(rollout.deployment)).execute_update(
        contracts.PAUSE, command.model_dump(mode="json")
    )


async def test_a_pause_stops_the_deadline_of_the_growth_and_not_what_a_person_has_decided(
    rollout: "RunningRollout", client: Client
) -> None:
    rollout.script.switch = [GROWS, SWITCHED]
    await preview(rollout, provisioning_deadline="10m")
    await rollout.promote()
    await pause(rollout, client)
    assert (await rollout.status()).timers == ()
    await rollout.skip(timedelta(hours=1))

    await full(rollout)

    await rollout.phase(RolloutPhase.BAKING)


async def test_what_a_timer_has_decided_waits_while_the_rollout_is_paused(
    rollout: "RunningRollout", client: Client
) -> None:
    rollout.script.switch = [SwitchAnswer(growth=TIMERS), SWITCHED]
    await preview(rollout, auto_promote=True)
    await rollout.until_status(lambda status: status.growth is not None)
    await pause(rollout, client)
    await full(rollout)
    await rollout.until_nothing_is_in_flight()
    assert len(steps(rollout)) == 1

    await rollout.handle.execute_update(contracts.RESUME, {"by": "ben", **FOR_EVER})

    await rollout.phase(RolloutPhase.BAKING)


async def test_a_scaling_in_the_middle_of_growing_is_waited_for(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS, SWITCHED]
    await preview(rollout)
    await rollout.promote()
    await rollout.edge(SetCondition.RUNNING, ready=1, scaled=True)

    await rollout.edge(SetCondition.RUNNING, ready=3, scaled=True, wanted=5)
    await rollout.until_nothing_is_in_flight()
    assert len(steps(rollout)) == 1

    await rollout.edge(SetCondition.READY, wanted=5)
    await rollout.phase(RolloutPhase.BAKING)


# Room.


def waiting(growth: Growth = ANNS) -> SwitchAnswer:
    return SwitchAnswer(growth=growth.model_copy(update={"no_room": WHY, "seq": 1}))


async def tell_of_room(rollout: "RunningRollout") -> None:
    await rollout.handle.signal(contracts.ROOM_CHANGED, RoomChanged(rollout=ROLLOUT, used=4, bound=6))


async def test_growth_waits_for_room_and_says_why(rollout: "RunningRollout") -> None:
    rollout.script.switch = [waiting(), GROWS, SWITCHED]
    await preview(rollout, max_total_replicas=6, on_no_room="wait")

    assert (await rollout.promote()).state is PromoteState.GROWING
    status = await rollout.until_status(lambda status: bool(status.holding))
    assert WHY in status.holding
    assert "green grows to 3 as soon as there is room" in status.holding
    assert [timer.name for timer in status.timers] == ["provisioning deadline"]

    await tell_of_room(rollout)
    await rollout.until(lambda: len(steps(rollout)) == 2)
    await full(rollout)
    await rollout.phase(RolloutPhase.BAKING)
    assert [grown for _, _, grown in steps(rollout)] == [False, True, True]
    await rollout.record("growth-waited-for-room")


async def test_growth_that_finds_no_room_in_time_aborts_with_that_reason(rollout: "RunningRollout") -> None:
    rollout.script.switch = [waiting()]
    await preview(rollout, max_total_replicas=6, on_no_room="wait", provisioning_deadline="10m")
    await rollout.promote()
    await rollout.until_status(lambda status: bool(status.holding))

    await rollout.skip(timedelta(minutes=11))

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED
    assert WHY in ended.result.reason


async def test_without_room_a_decision_is_refused_and_the_rollout_waits_for_another(rollout: "RunningRollout") -> None:
    rollout.script.switch = [refusing(RefusalCode.NO_ROOM, WHY), GROWS]
    await preview(rollout, max_total_replicas=6)

    with pytest.raises(RefusedError) as refused:
        await rollout.promote()

    assert refused.value.refusal.code is RefusalCode.NO_ROOM
    assert (await rollout.phase(RolloutPhase.AWAITING_PROMOTION)).growth is None
    assert (await rollout.promote()).state is PromoteState.GROWING


async def test_a_timer_that_is_refused_for_room_tries_again_when_there_is_some(rollout: "RunningRollout") -> None:
    rollout.script.switch = [refusing(RefusalCode.NO_ROOM, WHY), SwitchAnswer(growth=TIMERS)]
    await preview(rollout, max_total_replicas=6, auto_promote=True)
    status = await rollout.until_status(lambda status: bool(status.holding))
    assert "no timer promotes until there is room" in status.holding

    await tell_of_room(rollout)

    await rollout.until_status(lambda status: status.growth is not None)


# What may befall a rollout meanwhile.


async def test_growth_goes_on_in_a_new_run(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS, SWITCHED]
    await preview(rollout, provisioning_deadline="90d")
    await rollout.promote()
    first = (await rollout.handle.describe()).run_id

    await rollout.skip(timedelta(days=16))

    assert (await rollout.handle.describe()).run_id != first
    assert (await rollout.status()).growth == ANNS
    await full(rollout)
    await rollout.phase(RolloutPhase.BAKING)


async def test_growth_survives_the_failure_of_its_steps(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS, SWITCHED]
    rollout.script.failures = {"switch": 2, "enter_phase": 1}
    await preview(rollout)
    assert (await rollout.promote()).state is PromoteState.GROWING
    rollout.script.failures = {"switch": 2}
    await full(rollout)

    await rollout.phase(RolloutPhase.BAKING)


async def reset(rollout: "RunningRollout", client: Client, growth: Growth, **policy: Any) -> None:
    """Bring a rollout back to the moment before its first decision, while the table knows of the growth."""
    await preview(rollout, **policy)
    await rollout.until_nothing_is_in_flight()
    resolved = resolve_policy(BlueGreenPolicy(preview_replicas=1, **policy))
    rollout.script.edge = AskedForEdge(policy=resolved, growth=growth)
    await reset_to_task(client, contracts.workflow_id(rollout.deployment))


async def test_a_run_that_was_reset_goes_on_with_the_decision_that_the_table_keeps(
    rollout: "RunningRollout", client: Client
) -> None:
    rollout.script.switch = [SWITCHED]
    await reset(rollout, client, ANNS)

    status = await rollout.until_status(lambda status: status.growth is not None)
    assert status.phase is RolloutPhase.VERIFYING
    await full(rollout)

    await rollout.phase(RolloutPhase.BAKING)
    assert steps(rollout) == [("ann", False, True)]


async def test_a_run_that_was_reset_asks_anew_for_room_to_grow(rollout: "RunningRollout", client: Client) -> None:
    rollout.script.switch = [GROWS, SWITCHED]
    waits = ANNS.model_copy(update={"no_room": WHY, "seq": 1})
    await reset(rollout, client, waits, max_total_replicas=6)

    await rollout.until(lambda: len(steps(rollout)) == 1)

    assert steps(rollout) == [("ann", False, True)]
