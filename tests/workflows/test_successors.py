"""A rollout that hears of another one that waits for its turn: what it ends for it, and what it does not."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from celadon.domain.language import contracts
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.names import Epoch, RevisionNumber
from celadon.domain.language.next_rollout import NextRollout, Successor
from celadon.domain.language.policy import OnNewRevision
from celadon.domain.language.states import RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import Judged
from tests.workflows.conftest import BLUE, GREEN, ROLLOUT
from tests.workflows.resets import reset_to_task
from tests.workflows.test_growth import GROWS, preview

if TYPE_CHECKING:
    from temporalio.testing import WorkflowEnvironment

    from tests.workflows.conftest import RunningRollout

REPLACES = Successor(id=3, revision=RevisionNumber(5), by="ben", replaces=True)
WAITS = REPLACES.model_copy(update={"replaces": False})


async def told(rollout: "RunningRollout", successor: Successor | None, *, times: int = 1) -> None:
    """Let the rollout hear that something waits behind it, and read what."""
    await hear(rollout, successor)
    await rollout.until(lambda: rollout.script.names().count("read_successor") == times)


async def hear(rollout: "RunningRollout", successor: Successor | None) -> None:
    rollout.script.successor = successor
    await rollout.handle.signal(contracts.SUCCESSOR_WAITS, {"rollout": ROLLOUT, "id": 3})


async def test_a_rollout_that_waits_for_replicas_is_superseded(rollout: "RunningRollout") -> None:
    await rollout.start()

    await told(rollout, REPLACES)

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.status == "completed"
    assert ended.result.outcome is RolloutOutcome.SUPERSEDED
    assert ended.result.reason == "r5, which ben asked for, replaces it"
    assert "superseded" in rollout.script.notes()


async def test_a_rollout_that_awaits_its_promotion_is_superseded_and_green_is_closed(
    rollout: "RunningRollout",
) -> None:
    await rollout.wait_for_promotion()

    await told(rollout, REPLACES)

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.SUPERSEDED
    [closed] = rollout.script.inputs("drain")
    assert closed.route_set == GREEN
    assert "switch" not in rollout.script.names()
    await rollout.record("superseded")


async def test_a_rollout_goes_on_before_the_switch_when_what_waits_waits_for_its_end(
    rollout: "RunningRollout",
) -> None:
    await rollout.wait_for_promotion()

    await told(rollout, WAITS)

    await rollout.until_nothing_is_in_flight()
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    await rollout.promote()
    await rollout.phase(RolloutPhase.BAKING)
    assert rollout.script.names().count("read_successor") == 1


async def test_what_replaces_a_rollout_that_bakes_ends_the_bake(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="24h")

    await told(rollout, REPLACES)

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    [closed] = rollout.script.inputs("drain")
    assert closed.route_set == BLUE
    assert "bake_ended" in rollout.script.notes()
    await rollout.record("bake-ended-for-a-newer-one")


async def test_what_replaces_a_rollout_ends_its_bake_while_it_is_paused(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="24h")
    await rollout.handle.execute_update(contracts.PAUSE, {})

    await told(rollout, REPLACES)

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED


async def test_what_waits_for_the_end_leaves_the_bake_alone(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="24h")

    await told(rollout, WAITS)

    await rollout.until_nothing_is_in_flight()
    assert (await rollout.status()).phase is RolloutPhase.BAKING
    await rollout.skip(timedelta(hours=25))
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    assert "bake_ended" not in rollout.script.notes()


async def test_nothing_ends_a_drain_sooner(rollout: "RunningRollout") -> None:
    drain = rollout.script.hold("drain")
    await rollout.bake(bake="0s")
    await rollout.phase(RolloutPhase.DRAINING)

    await hear(rollout, REPLACES)
    await rollout.until_event("WORKFLOW_EXECUTION_SIGNALED", 2)

    assert "read_successor" not in rollout.script.names()
    drain.set()
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED


MEANWHILE = {
    OnNewRevision.REPLACE: REPLACES,
    OnNewRevision.QUEUE: WAITS,
    # The table refuses the newer one, so that nothing waits.
    OnNewRevision.REJECT: None,
}
BEFORE_SWITCH = ("provisioning", "verifying", "awaiting_promotion", "growing")


async def bring_to(rollout: "RunningRollout", moment: str) -> RolloutPhase:
    """Bring a rollout to a moment before its switch, or into its bake, and return the phase in which it is."""
    match moment:
        case "provisioning":
            await rollout.start()
            return RolloutPhase.PROVISIONING
        case "verifying":
            await rollout.start()
            await rollout.edge(SetCondition.RUNNING)
            await rollout.phase(RolloutPhase.VERIFYING)
            return RolloutPhase.VERIFYING
        case "awaiting_promotion":
            await rollout.wait_for_promotion()
            return RolloutPhase.AWAITING_PROMOTION
        case "growing":
            rollout.script.switch = [GROWS]
            await preview(rollout)
            await rollout.promote(by="ann")
            return RolloutPhase.VERIFYING
        case _:
            await rollout.bake(bake="24h")
            return RolloutPhase.BAKING


@pytest.mark.parametrize("mode", list(OnNewRevision))
@pytest.mark.parametrize("moment", [*BEFORE_SWITCH, "baking"])
async def test_a_newer_rollout_meets_each_phase_as_its_policy_says(
    rollout: "RunningRollout", moment: str, mode: OnNewRevision
) -> None:
    phase = await bring_to(rollout, moment)

    await told(rollout, MEANWHILE[mode])

    if mode is OnNewRevision.REPLACE:
        ended = await rollout.ended()
        assert ended.result is not None
        is_before = moment in BEFORE_SWITCH
        assert ended.result.outcome is (RolloutOutcome.SUPERSEDED if is_before else RolloutOutcome.PROMOTED)
        [closed] = rollout.script.inputs("drain")
        assert closed.route_set == (GREEN if is_before else BLUE)
        return
    await rollout.until_nothing_is_in_flight()
    status = await rollout.status()
    assert (status.phase, status.outcome) == (phase, None)
    assert "drain" not in rollout.script.names()


@pytest.mark.parametrize("mode", list(OnNewRevision))
async def test_a_newer_rollout_that_meets_the_switch_undoes_nothing_of_it(
    rollout: "RunningRollout", mode: OnNewRevision
) -> None:
    switch = rollout.script.hold("switch")
    await rollout.wait_for_promotion(bake="24h")
    promoting = asyncio.create_task(rollout.promote())
    await rollout.until(lambda: "switch" in rollout.script.names())

    await hear(rollout, MEANWHILE[mode])
    await rollout.until_event("WORKFLOW_EXECUTION_SIGNALED", 2)
    switch.set()

    assert (await promoting).epoch == Epoch(5)
    if mode is OnNewRevision.REPLACE:
        ended = await rollout.ended()
        assert ended.result is not None
        assert ended.result.outcome is RolloutOutcome.PROMOTED
        return
    await rollout.until(lambda: "read_successor" in rollout.script.names())
    await rollout.until_nothing_is_in_flight()
    assert (await rollout.status()).phase is RolloutPhase.BAKING


@pytest.mark.parametrize("mode", [OnNewRevision.QUEUE, OnNewRevision.REJECT])
async def test_a_newer_rollout_that_meets_the_drain_waits_for_its_end(
    rollout: "RunningRollout", mode: OnNewRevision
) -> None:
    drain = rollout.script.hold("drain")
    await rollout.bake(bake="0s")
    await rollout.phase(RolloutPhase.DRAINING)

    await hear(rollout, MEANWHILE[mode])
    await rollout.until_event("WORKFLOW_EXECUTION_SIGNALED", 2)
    assert (await rollout.status()).phase is RolloutPhase.DRAINING
    drain.set()

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED


async def test_an_abort_that_comes_with_what_replaces_the_rollout_decides(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    rollout.script.judge = [Judged(refusals=(None,))]
    hold = rollout.script.hold("read_successor")
    await hear(rollout, REPLACES)
    await rollout.until(lambda: "read_successor" in rollout.script.names())

    aborting = asyncio.create_task(rollout.abort(by="ann", reason="bad weights"))
    await rollout.until_abort_is_recorded()
    hold.set()

    assert (await aborting).outcome is RolloutOutcome.ABORTED
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED


async def test_a_promotion_that_comes_with_what_replaces_the_rollout_is_refused(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    hold = rollout.script.hold("read_successor")
    await hear(rollout, REPLACES)
    await rollout.until(lambda: "read_successor" in rollout.script.names())

    promoting = asyncio.create_task(rollout.promote(by="ann"))
    await rollout.until_a_promotion_is_recorded()
    hold.set()

    with pytest.raises(RefusedError) as refused:
        await promoting
    assert "r5, which ben asked for, replaces it" in refused.value.refusal.message
    assert "switch" not in rollout.script.names()


async def test_what_comes_while_the_switch_is_in_flight_ends_the_bake(rollout: "RunningRollout") -> None:
    switch = rollout.script.hold("switch")
    await rollout.wait_for_promotion(bake="24h")
    promoting = asyncio.create_task(rollout.promote())
    await rollout.until(lambda: "switch" in rollout.script.names())

    await hear(rollout, REPLACES)
    await rollout.until_event("WORKFLOW_EXECUTION_SIGNALED", 2)
    switch.set()

    assert (await promoting).epoch == Epoch(5)
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED


async def test_a_rollout_hears_of_its_successor_before_it_knows_its_own_number(rollout: "RunningRollout") -> None:
    begin = rollout.script.hold("begin")
    starting = asyncio.create_task(rollout.start())
    await rollout.until(lambda: "begin" in rollout.script.names())

    await hear(rollout, REPLACES)
    begin.set()
    await starting

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.SUPERSEDED


async def test_news_for_another_rollout_is_dropped(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    rollout.script.successor = REPLACES

    await rollout.handle.signal(contracts.SUCCESSOR_WAITS, {"rollout": ROLLOUT + 1, "id": 3})
    await rollout.until_event("WORKFLOW_EXECUTION_SIGNALED", 2)

    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    assert "read_successor" not in rollout.script.names()


async def test_a_rollout_that_continued_as_new_still_ends_for_what_replaces_it(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    await told(rollout, WAITS)
    await rollout.skip(timedelta(days=15))

    await told(rollout, REPLACES, times=2)

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.SUPERSEDED


async def test_a_rollout_that_was_reset_reads_again_what_waits_behind_it(
    rollout: "RunningRollout", temporal_env: "WorkflowEnvironment"
) -> None:
    await rollout.wait_for_promotion()
    await told(rollout, WAITS)
    await rollout.until_nothing_is_in_flight()
    rollout.script.successor = REPLACES

    await reset_to_task(temporal_env.client, contracts.workflow_id(rollout.deployment))

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.SUPERSEDED


async def test_a_rollout_that_was_reset_to_before_its_switch_never_goes_back_for_what_replaces_it(
    rollout: "RunningRollout",
) -> None:
    await rollout.wait_for_promotion()
    rollout.script.drain = [rollout.script.drain[0].model_copy(update={"reopened": True})]

    await told(rollout, REPLACES)

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    assert "switch_back" not in rollout.script.names()


async def test_what_has_waited_begins_by_its_number(rollout: "RunningRollout") -> None:
    await rollout.start_with({"deployment": rollout.deployment, "next": 3})
    await rollout.until(lambda: "provision_green" in rollout.script.names())

    [begin] = rollout.script.inputs("begin")
    assert begin.request == NextRollout(deployment=rollout.deployment, next=3)
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    await rollout.abort()
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED
    await rollout.record("waited-for-its-turn")


@pytest.mark.parametrize("payload", [{"next": 3}, {"next": "x"}, {"next": 3, "revision": 2}])
async def test_what_names_a_number_and_no_more_than_a_deployment_has_waited(
    rollout: "RunningRollout", payload: dict[str, object]
) -> None:
    await rollout.start_with(payload if payload == {"next": 3} else {"deployment": rollout.deployment, **payload})

    ended = await rollout.ended()

    assert ended.refusal is not None
    assert ended.refusal.code.value == "INVALID_PAYLOAD"
    assert "begin" not in rollout.script.names()
