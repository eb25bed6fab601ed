"""An abort that blue cannot take for the moment is pending, and ends by success or because blue is gone."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from temporalio.client import Client

from celadon.client.ending import end_rollout
from celadon.client.rollouts import RolloutClient
from celadon.domain.language import contracts
from celadon.domain.language.commands import AbortCommand, AbortState, BakeCommand
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.messages import BlueChanged
from celadon.domain.language.names import Epoch
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase
from celadon.domain.language.steps import DrainEnd, Judged, PendingAsker, SwitchAnswer, SwitchStep
from tests.workflows.conftest import BLUE, FOR_EVER, GREEN, ROLLOUT

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

SICK = SwitchAnswer(
    refusal=Refusal(
        code=RefusalCode.NO_HEALTHY_BLUE,
        message="blue cannot take the traffic for the moment (1 of 3 healthy, 3 required)",
        next_step="try again when blue is healthy",
    ),
)
DRAINED = SwitchAnswer(refusal=Refusal(code=RefusalCode.BLUE_DRAINED, message="blue has drained"))
BACK = SwitchAnswer(epoch=Epoch(6))
WANTED_BACK = DrainEnd(refusal=Refusal(code=RefusalCode.ABORT_REQUESTED, message="an abort is pending"))


def changed(seq: int = 20, *, rollout: int = ROLLOUT, gone: bool = False) -> dict[str, object]:
    """Return what the keeper tells of blue."""
    edge = BlueChanged(rollout=ROLLOUT, route_set=BLUE, seq=seq, ready=3, required=3, wanted=3, gone=gone)
    return edge.model_dump(mode="json") | {"rollout": rollout}


async def _blue_changes(running: "RunningRollout", seq: int = 20, *, of: int = ROLLOUT, gone: bool = False) -> None:
    await running.handle.signal(contracts.BLUE_CHANGED, changed(seq, rollout=of, gone=gone))


async def _outcome(rollout: "RunningRollout") -> RolloutOutcome | None:
    result = (await rollout.ended()).result
    return None if result is None else result.outcome


def _drained(rollout: "RunningRollout") -> list[int]:
    return [step.route_set for step in rollout.script.inputs("drain")]


async def test_an_abort_that_blue_cannot_take_for_the_moment_is_answered_recorded(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK]
    await rollout.bake()

    answer = await rollout.rollback(by="ann", reason="answers are wrong")

    assert (answer.state, answer.outcome, answer.epoch) == (AbortState.RECORDED, None, None)
    assert answer.why == (
        "blue cannot take the traffic for the moment (1 of 3 healthy, 3 required); it goes back as soon as it can"
    )


async def test_the_status_tells_of_a_pending_abort_and_of_no_timer(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK]
    await rollout.bake()
    await rollout.rollback(by="ann", reason="answers are wrong")

    status = await rollout.status()

    assert (status.phase, status.timers) == (RolloutPhase.BAKING, ())
    assert status.abort_requested == "ann: answers are wrong"
    assert status.holding.startswith("an abort by ann (answers are wrong) is pending since ")
    assert "1 of 3 healthy, 3 required" in status.holding


async def test_the_bake_does_not_end_while_an_abort_is_pending(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK, BACK]
    await rollout.bake(bake="5m")
    await rollout.abort(by="ann")

    await rollout.skip(timedelta(days=3))

    assert (await rollout.status()).phase is RolloutPhase.BAKING
    assert _drained(rollout) == []
    await _blue_changes(rollout)
    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    assert _drained(rollout) == [GREEN]
    await rollout.record("rolled-back-when-blue-had-recovered")


async def test_a_cancel_that_blue_cannot_take_for_the_moment_goes_back_when_blue_can(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK, BACK]
    await rollout.bake(bake="5m")

    await rollout.handle.cancel()
    await rollout.until(lambda: "switch_back" in rollout.script.names())
    await rollout.skip(timedelta(hours=1))
    assert _drained(rollout) == []
    await _blue_changes(rollout)

    assert (await rollout.ended()).status == "cancelled"
    assert rollout.script.inputs("finish")[0].outcome is RolloutOutcome.ROLLED_BACK
    assert [step.door for step in rollout.script.inputs("switch_back")] == [Channel.CANCEL, Channel.CANCEL]


async def test_a_cancel_that_is_pending_ends_a_later_run_as_cancelled(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK, BACK]
    await rollout.bake(bake="5m")
    await rollout.handle.cancel()
    await rollout.until(lambda: "switch_back" in rollout.script.names())
    first = (await rollout.handle.describe()).run_id

    await rollout.skip(timedelta(days=15))
    assert (await rollout.handle.describe()).run_id != first
    await _blue_changes(rollout)

    assert (await rollout.ended()).status == "cancelled"


async def test_a_pending_abort_is_tried_once_for_each_change_of_blue(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK, SICK, BACK]
    await rollout.bake()
    await rollout.abort(by="ann")

    await _blue_changes(rollout, seq=20)
    await rollout.until(lambda: rollout.script.names().count("switch_back") == 2)
    await rollout.until_nothing_is_in_flight()
    await _blue_changes(rollout, seq=20)
    await _blue_changes(rollout, seq=19)
    await _blue_changes(rollout, seq=30, of=ROLLOUT + 1)
    await rollout.until_nothing_is_in_flight()
    assert rollout.script.names().count("switch_back") == 2
    await _blue_changes(rollout, seq=21)

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    tries: list[SwitchStep] = rollout.script.inputs("switch_back")
    assert {step.by for step in tries} == {"ann"}
    assert len({step.decision for step in tries}) == len(tries) == 3


async def test_a_change_of_blue_that_overtakes_the_refusal_is_not_missed(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK, BACK]
    answers = rollout.script.hold("switch_back")
    await rollout.bake()
    aborting = asyncio.create_task(rollout.abort(by="ann"))
    await rollout.until(lambda: "switch_back" in rollout.script.names())

    await _blue_changes(rollout)
    await rollout.until_event("WORKFLOW_EXECUTION_SIGNALED", 2)
    answers.set()

    assert (await aborting).state is AbortState.RECORDED
    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK


async def test_waiting_for_blue_costs_nothing(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK]
    await rollout.bake(bake="5m")
    await rollout.abort(by="ann")
    await rollout.skip(timedelta(minutes=6))
    before = await rollout.events()

    await rollout.skip(timedelta(days=7))

    assert await rollout.events() == before


async def test_a_second_abort_tries_again_and_is_recorded_too(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK]
    await rollout.bake()

    assert (await rollout.abort(by="ann")).state is AbortState.RECORDED
    assert (await rollout.rollback(by="ben")).state is AbortState.RECORDED

    assert "an abort by ann is pending" in (await rollout.status()).holding


async def test_a_message_that_does_not_count_leaves_the_pending_abort_alone(rollout: "RunningRollout") -> None:
    unsigned = Refusal(code=RefusalCode.UNSIGNED, message="nobody vouches for the sender")
    rollout.script.switch_back = [SICK, SwitchAnswer(refusal=unsigned, message_refused=True), BACK]
    await rollout.bake(bake="5m")
    await rollout.abort(by="ann")

    with pytest.raises(RefusedError):
        await rollout.abort(by="eve")
    await rollout.skip(timedelta(minutes=10))
    assert _drained(rollout) == []
    await _blue_changes(rollout)

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK


@pytest.mark.parametrize("is_paused", [False, True])
async def test_an_abort_that_no_blue_can_ever_take_is_refused_and_ends_the_bake(
    rollout: "RunningRollout", *, is_paused: bool
) -> None:
    """A run that was reset may bake although the one before it has drained blue, and has forgotten its resumption."""
    rollout.script.switch_back = [DRAINED]
    await rollout.bake(bake="5m")
    if is_paused:
        await rollout.handle.execute_update(contracts.PAUSE, {"by": "ben"})

    with pytest.raises(RefusedError) as refused:
        await rollout.abort(by="ann")

    assert refused.value.refusal.code is RefusalCode.BLUE_DRAINED
    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    assert _drained(rollout) == [BLUE]


async def test_a_pending_abort_ends_when_blue_is_lost(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK, DRAINED]
    drains = rollout.script.hold("drain")
    await rollout.bake(bake="0s")
    await rollout.until(lambda: "drain" in rollout.script.names())
    await rollout.abort(by="ann")

    await _blue_changes(rollout, gone=True)
    await rollout.until(lambda: rollout.script.names().count("switch_back") == 2)
    await rollout.until_status(lambda status: not status.holding)
    drains.set()

    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    assert rollout.script.notes().count("rollback_refused") == 1


async def test_an_abort_while_blue_drains_is_pending_until_blue_recovers(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK, BACK]
    rollout.script.drain = [DrainEnd(reopened=True), DrainEnd()]
    drains = rollout.script.hold("drain")
    await rollout.bake(bake="0s")
    await rollout.until(lambda: "drain" in rollout.script.names())

    answer = await rollout.abort(by="ann")
    assert answer.state is AbortState.RECORDED
    assert "if blue recovers before it is gone" in answer.why
    await _blue_changes(rollout)
    await rollout.until(lambda: rollout.script.names().count("switch_back") == 2)
    drains.set()

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK


async def test_an_abort_that_is_pending_when_blue_has_drained_is_told_in_the_audit_log(
    rollout: "RunningRollout",
) -> None:
    rollout.script.switch_back = [SICK]
    drains = rollout.script.hold("drain")
    await rollout.bake(bake="0s")
    await rollout.until(lambda: "drain" in rollout.script.names())
    await rollout.abort(by="ann")
    drains.set()

    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    assert "rollback_refused" in rollout.script.notes()


async def test_blue_is_not_drained_when_its_routers_have_caught_up_while_an_abort_is_pending(
    rollout: "RunningRollout",
) -> None:
    silent = Refusal(code=RefusalCode.ROUTERS_SILENT, message="routers have not acknowledged epoch 5: two")
    rollout.script.switch_back = [SICK, BACK]
    rollout.script.drain = [DrainEnd(refusal=silent, silent=("two",)), DrainEnd()]
    await rollout.bake(bake="0s")
    await rollout.until(lambda: rollout.script.names().count("drain") == 1)
    await rollout.phase(RolloutPhase.BAKING)
    await rollout.abort(by="ann")

    await rollout.handle.signal(contracts.ROUTERS_ACKNOWLEDGED, {"epoch": 5})
    await rollout.until_nothing_is_in_flight()
    assert _drained(rollout) == [BLUE]
    await _blue_changes(rollout)

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    assert _drained(rollout) == [BLUE, GREEN]


async def test_a_drain_that_the_table_refuses_for_a_pending_abort_waits_for_blue(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK, BACK]
    rollout.script.drain = [WANTED_BACK, DrainEnd()]
    drains = rollout.script.hold("drain")
    await rollout.bake(bake="0s")
    await rollout.until(lambda: "drain" in rollout.script.names())
    await rollout.abort(by="ann")
    drains.set()
    await rollout.phase(RolloutPhase.BAKING)

    await _blue_changes(rollout)

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK


async def test_a_run_that_was_reset_takes_up_the_abort_that_is_pending_in_the_table(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [BACK]
    rollout.script.drain = [WANTED_BACK, DrainEnd()]
    await rollout.bake(bake="0s")

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    assert rollout.script.inputs("switch_back")[0].by == "reset"


# What a person ends.


def _asked(**command: object) -> BakeCommand:
    return parse_payload(BakeCommand, FOR_EVER | command)


async def test_a_finish_gives_a_pending_abort_up_and_drains_blue(
    rollout: "RunningRollout",
    client: Client,
) -> None:
    rollout.script.switch_back = [SICK]
    await rollout.bake(bake="5m")
    await rollout.abort(by="ann")

    answer = await RolloutClient(client).ask(
        rollout.deployment, contracts.FINISH, _asked(by="ben", reason="green is fine")
    )

    assert answer.phase is RolloutPhase.DRAINING
    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    assert _drained(rollout) == [BLUE]
    assert "finish_requested" in rollout.script.notes()


async def test_a_finish_ends_a_bake_that_nobody_disturbs(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="30d")

    await rollout.handle.signal(contracts.FINISH, {"by": "ben"})

    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    await rollout.record("finished")


async def test_a_pending_abort_that_is_withdrawn_leaves_the_bake_as_it_was(
    rollout: "RunningRollout",
    client: Client,
) -> None:
    rollout.script.switch_back = [SICK]
    await rollout.bake(bake="5m")
    before = await rollout.status()
    await rollout.abort(by="ann")

    answer = await RolloutClient(client).ask(rollout.deployment, contracts.WITHDRAW, _asked(by="ann"))
    after = await rollout.status()

    assert answer.phase is RolloutPhase.BAKING
    assert (after.holding, [one.fires_at for one in after.timers]) == ("", [one.fires_at for one in before.timers])
    await rollout.skip(timedelta(minutes=6))
    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    assert rollout.script.names().count("switch_back") == 1


async def test_a_withdrawal_that_does_not_count_leaves_the_abort_pending(
    rollout: "RunningRollout",
    client: Client,
) -> None:
    not_yours = Refusal(code=RefusalCode.FORBIDDEN, message="the abort that is pending is ann's")
    rollout.script.switch_back = [SICK, BACK]
    rollout.script.judge = [Judged(refusals=(not_yours,))]
    await rollout.bake(bake="5m")
    await rollout.abort(by="ann")

    with pytest.raises(RefusedError) as refused:
        await RolloutClient(client).ask(rollout.deployment, contracts.WITHDRAW, _asked(by="eve"))

    assert refused.value.refusal == not_yours
    await _blue_changes(rollout)
    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK


async def test_the_withdrawal_of_the_first_leaves_the_second_ones_abort_pending(
    rollout: "RunningRollout",
    client: Client,
) -> None:
    rollout.script.switch_back = [SICK, SICK, BACK]
    ben = PendingAsker(by="ben", door=Channel.UPDATE, reason="errors")
    rollout.script.judge = [Judged(refusals=(None,), pending=ben)]
    await rollout.bake(bake="5m")
    await rollout.abort(by="ann")
    assert (await rollout.abort(by="ben", reason="errors")).state is AbortState.RECORDED

    answer = await RolloutClient(client).ask(rollout.deployment, contracts.WITHDRAW, _asked(by="ann"))

    assert answer.pending_by == "ben"
    assert "an abort by ben (errors) is pending since" in (await rollout.status()).holding
    await rollout.skip(timedelta(hours=1))
    assert _drained(rollout) == []
    await _blue_changes(rollout)
    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    last = rollout.script.inputs("switch_back")[-1]
    assert (last.by, last.reason, last.message, last.door) == ("ben", "errors", None, Channel.POLICY)
    await rollout.record("withdrawn-by-one-of-two")


async def test_the_withdrawal_of_the_second_leaves_the_first_ones_abort_as_it_was(
    rollout: "RunningRollout",
    client: Client,
) -> None:
    rollout.script.switch_back = [SICK, SICK, BACK]
    rollout.script.judge = [Judged(refusals=(None,), pending=PendingAsker(by="ann", door=Channel.UPDATE))]
    await rollout.bake(bake="5m")
    await rollout.abort(by="ann")
    await rollout.abort(by="ben")

    await RolloutClient(client).ask(rollout.deployment, contracts.WITHDRAW, _asked(by="ben"))

    await _blue_changes(rollout)
    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    first, _, last = rollout.script.inputs("switch_back")
    assert last.message == first.message


@pytest.mark.parametrize("kept", [True, False], ids=["the table keeps it", "the table has not heard of it"])
async def test_a_cancellation_stays_pending_whoever_withdraws(
    rollout: "RunningRollout",
    client: Client,
    *,
    kept: bool,
) -> None:
    rollout.script.switch_back = [SICK, SICK, SICK, BACK] if not kept else [SICK, SICK, BACK]
    cancelled = PendingAsker(by="cancellation", door=Channel.CANCEL)
    rollout.script.judge = [Judged(refusals=(None,), pending=cancelled if kept else None)]
    await rollout.bake(bake="5h")
    await rollout.abort(by="ann")
    await rollout.handle.cancel()
    await rollout.until(lambda: rollout.script.names().count("switch_back") == 2)
    await rollout.until_nothing_is_in_flight()

    await RolloutClient(client).ask(rollout.deployment, contracts.WITHDRAW, _asked(by="ann"))
    await rollout.until_nothing_is_in_flight()

    assert _drained(rollout) == []
    holding = (await rollout.status()).holding
    assert holding.startswith("an abort by cancellation")
    assert holding.endswith(f"unless the bake is ended: celadon finish {rollout.deployment}")
    await _blue_changes(rollout)
    assert (await rollout.ended()).status == "cancelled"
    assert rollout.script.inputs("switch_back")[-1].door is Channel.CANCEL


async def test_a_finish_gives_a_cancellation_up(rollout: "RunningRollout", client: Client) -> None:
    rollout.script.switch_back = [SICK]
    await rollout.bake(bake="5h")
    await rollout.handle.cancel()
    await rollout.until_status(lambda status: "pending" in status.holding)

    await RolloutClient(client).ask(rollout.deployment, contracts.FINISH, _asked(by="ben"))

    assert (await rollout.ended()).status == "cancelled"
    assert _drained(rollout) == [BLUE]


async def test_who_asks_while_the_table_is_asked_is_asked_for_in_turn(rollout: "RunningRollout") -> None:
    """Else the table would keep the first alone, and the first one's withdrawal would end what ben was promised."""
    rollout.script.switch_back = [SICK, SICK]
    answers = rollout.script.hold("switch_back")
    await rollout.bake(bake="5h")
    ann = asyncio.create_task(rollout.abort(by="ann"))
    await rollout.until(lambda: "switch_back" in rollout.script.names())
    ben = asyncio.create_task(rollout.abort(by="ben"))
    await rollout.until_event("WORKFLOW_EXECUTION_UPDATE_ACCEPTED", 3)
    answers.set()

    assert [(await one).state for one in (ann, ben)] == [AbortState.RECORDED, AbortState.RECORDED]
    assert [step.by for step in rollout.script.inputs("switch_back")] == ["ann", "ben"]


async def test_there_is_nothing_to_finish_or_withdraw_before_the_switch(
    rollout: "RunningRollout",
    client: Client,
) -> None:
    await rollout.wait_for_promotion()
    rollouts = RolloutClient(client)

    with pytest.raises(RefusedError) as finish:
        await rollouts.ask(rollout.deployment, contracts.FINISH, _asked())
    with pytest.raises(RefusedError) as withdrawal:
        await rollouts.ask(rollout.deployment, contracts.WITHDRAW, _asked())

    assert finish.value.refusal.code is RefusalCode.NOT_BAKING
    assert withdrawal.value.refusal.code is RefusalCode.NO_PENDING_ABORT


async def test_a_deployment_that_is_deleted_does_not_wait_for_its_blue(
    rollout: "RunningRollout",
    client: Client,
) -> None:
    rollout.script.switch_back = [SICK]
    await rollout.bake(bake="5m")

    await end_rollout(RolloutClient(client), rollout.deployment, parse_payload(AbortCommand, FOR_EVER | {"by": "ann"}))

    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
