"""A rollout goes on in a new run at a quiet point, and nobody notices."""

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import (
    CancelWorkflowInput,
    Client,
    Interceptor,
    OutboundInterceptor,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from celadon.client.rollouts import RolloutClient
from celadon.domain.language.commands import PromoteState
from celadon.domain.language.contracts import SEARCH_DEPLOYMENT, SEARCH_PHASE
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import DrainEnd, Step, SwitchAnswer
from tests.workflows.conftest import DEADLINE_SECONDS
from tests.workflows.test_growth import ANNS, GROWS, preview
from tests.workflows.test_pausing import pause, resume
from worker.registration import replayer

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

pytestmark = pytest.mark.parts

MOVES_BY_AGE = timedelta(days=15)
SILENT = DrainEnd(
    silent=("envoy-2",),
    refusal=Refusal(code=RefusalCode.ROUTERS_SILENT, message="envoy-2 has not acknowledged"),
)


async def _moved(rollout: "RunningRollout") -> None:
    """Let the rollout grow so old that it goes on in a new run, and see that it did."""
    before = (await rollout.handle.describe()).run_id
    await rollout.skip(MOVES_BY_AGE)
    assert (await rollout.handle.describe()).run_id != before


async def _outcome(rollout: "RunningRollout") -> RolloutOutcome:
    ended = await rollout.ended()
    assert ended.result is not None
    return ended.result.outcome


async def test_it_waits_on_for_its_promotion(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    before = await rollout.status()

    await _moved(rollout)

    after = await rollout.status()
    assert after.model_copy(update={"timers": ()}) == before.model_copy(update={"timers": ()})
    await rollout.promote(by="ann")
    await rollout.phase(RolloutPhase.BAKING)
    assert rollout.script.names().count("begin") == rollout.script.names().count("provision_green") == 1


async def test_memo_and_search_attributes_are_as_before(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    before = await rollout.handle.describe()

    await _moved(rollout)

    after = await rollout.handle.describe()
    assert await after.memo() == await before.memo()
    values = {pair.key.name: pair.value for pair in after.typed_search_attributes}
    assert values[SEARCH_DEPLOYMENT] == rollout.deployment
    assert values[SEARCH_PHASE] == RolloutPhase.AWAITING_PROMOTION.value


async def test_timers_fire_when_they_would_have(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="20d")
    fires = (await rollout.status()).timers[0].fires_at

    await _moved(rollout)

    assert (await rollout.status()).timers[0].fires_at == fires
    await rollout.skip(timedelta(days=4))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    await rollout.skip(timedelta(days=2))
    await rollout.until(lambda: "switch" in rollout.script.names())


async def test_green_that_has_not_started_is_awaited_on(rollout: "RunningRollout") -> None:
    await rollout.start(provisioning_deadline="60d")

    await _moved(rollout)

    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)


async def test_it_bakes_on_and_goes_back(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="60d")

    await _moved(rollout)

    assert (await rollout.status()).phase is RolloutPhase.BAKING
    await rollout.rollback(by="ann")
    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK


async def test_it_bakes_to_the_end_of_the_bake(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="20d")

    await _moved(rollout)
    await rollout.skip(timedelta(days=6))

    assert await _outcome(rollout) is RolloutOutcome.PROMOTED


async def test_it_waits_on_for_silent_routers_before_blue_drains(rollout: "RunningRollout") -> None:
    rollout.script.drain = [SILENT, DrainEnd()]
    await rollout.bake(bake="1s")
    await rollout.skip(timedelta(minutes=1))
    await rollout.until(lambda: "drain" in rollout.script.names())

    await _moved(rollout)

    assert (await rollout.status()).silent_routers == ("envoy-2",)
    await rollout.handle.signal("routers_acknowledged", {"epoch": 5, "rollout": 7})
    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    assert rollout.script.names().count("drain") == 2


async def test_it_waits_on_for_silent_routers_before_green_drains(rollout: "RunningRollout") -> None:
    rollout.script.drain = [SILENT, DrainEnd()]
    await rollout.bake(bake="60d")
    await rollout.rollback(by="ann")
    await rollout.until(lambda: "drain" in rollout.script.names())

    await _moved(rollout)

    await rollout.handle.signal("routers_acknowledged", {"epoch": 6, "rollout": 7})
    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK


async def test_an_update_that_comes_again_gets_its_first_answer(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(bake="60d")
    first = await rollout.handle.execute_update("promote", {"by": "ann"}, id="the-same")

    await _moved(rollout)
    again = await rollout.handle.execute_update("promote", {"by": "ann"}, id="the-same")

    assert again == first
    assert rollout.script.names().count("switch") == 1


async def test_an_update_that_was_refused_is_refused_again(rollout: "RunningRollout") -> None:
    refusal = Refusal(code=RefusalCode.FROZEN, message="it is frozen")
    rollout.script.switch = [SwitchAnswer(refusal=refusal), SwitchAnswer(epoch=Epoch(5))]
    await rollout.wait_for_promotion()
    with pytest.raises(WorkflowUpdateFailedError):
        await rollout.handle.execute_update("promote", {"by": "ann"}, id="the-same")
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)

    await _moved(rollout)
    with pytest.raises(WorkflowUpdateFailedError) as again:
        await rollout.handle.execute_update("promote", {"by": "ann"}, id="the-same")

    assert isinstance(again.value.cause, ApplicationError)
    assert again.value.cause.type == RefusalCode.FROZEN


async def test_lines_that_no_step_has_carried_yet_are_carried_by_the_next_run(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    await rollout.until_nothing_is_in_flight()
    await rollout.handle.signal("promote", {"by": "bob", "revision": 99})

    await _moved(rollout)
    await rollout.promote(by="ann")
    await rollout.rollback(by="ann")
    await rollout.ended()

    lines = {
        (note.run, note.seq): note.kind
        for _, step in rollout.script.asked
        if isinstance(step, Step)
        for note in step.notes
    }
    assert list(lines.values()).count("message_refused") == 1


async def test_signals_that_come_while_it_moves_are_heard(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    moving = asyncio.create_task(_moved(rollout))
    for number in range(60):
        await rollout.handle.signal("promote", {"by": f"p{number}", "revision": 99})
    await moving

    assert (await rollout.status()).refused_total == 60


async def test_a_cancel_after_a_move_ends_it_canceled(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    await _moved(rollout)

    await rollout.handle.cancel()
    await rollout.ended()

    assert (await rollout.handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert "finish" in rollout.script.names()


async def test_a_forged_state_is_no_start(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    await _moved(rollout)
    history = await rollout.handle.fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    forged = json.loads(started.input.payloads[0].data)
    await rollout.handle.terminate()

    handle = await rollout.start_with(forged)

    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), DEADLINE_SECONDS)

    assert "continued: unknown key" in str(failed.value.cause)


async def test_a_year_of_flapping_green_keeps_the_history_flat(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(max_regressions=100)

    longest = 0
    for _ in range(24):
        await rollout.edge(SetCondition.RUNNING)
        await rollout.phase(RolloutPhase.VERIFYING)
        await rollout.edge(SetCondition.READY)
        await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
        await rollout.skip(MOVES_BY_AGE)
        longest = max(longest, await rollout.events())

    assert longest < 100
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    await rollout.promote(by="ann")


async def test_every_run_replays(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    first = (await rollout.handle.describe()).run_id
    await _moved(rollout)
    await rollout.promote(by="ann")
    await rollout.rollback(by="ann")
    await rollout.ended()

    for history in (await rollout.history_of(first), await rollout.handle.fetch_history()):
        replayed = await replayer().replay_workflow(history, raise_on_replay_failure=False)
        assert replayed.replay_failure is None
    await rollout.record("continued-as-new")


async def test_what_it_is_still_stands_above_what_it_does(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    summary = f"blue-green rollout of **{rollout.deployment}**"
    before = await rollout.handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert summary not in before.current_details

    await _moved(rollout)

    after = await rollout.handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert after.current_details.startswith(f"{summary}\n\n### {rollout.deployment}: awaiting promotion")


async def test_green_that_is_not_healthy_yet_is_awaited_on(rollout: "RunningRollout") -> None:
    await rollout.start(provisioning_deadline="60d")
    await rollout.edge(SetCondition.RUNNING, ready=1)
    await rollout.phase(RolloutPhase.VERIFYING)
    [deadline] = (await rollout.status()).timers

    await _moved(rollout)

    status = await rollout.status()
    assert status.phase is RolloutPhase.VERIFYING
    assert [timer.fires_at for timer in status.timers] == [deadline.fires_at]
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)


async def test_a_rollout_that_is_paused_stays_so_and_goes_on_with_what_remained(
    rollout: "RunningRollout", client: Client
) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    await pause(rollout, client)

    await _moved(rollout)

    status = await rollout.status()
    assert (status.timers, status.phase) == ((), RolloutPhase.AWAITING_PROMOTION)
    assert "by ann (latencies): all timers stand still until it is resumed" in status.holding
    await resume(rollout, client)
    [timer] = (await rollout.status()).timers
    await rollout.skip(timedelta(minutes=50))
    assert [one.fires_at for one in (await rollout.status()).timers] == [timer.fires_at]
    await rollout.skip(timedelta(minutes=11))
    await rollout.until(lambda: "switch" in rollout.script.names())


async def test_green_that_grows_is_awaited_on_and_then_switched_to(rollout: "RunningRollout") -> None:
    rollout.script.switch = [GROWS, SwitchAnswer(epoch=Epoch(5))]
    await preview(rollout, provisioning_deadline="60d", bake="60d")
    answer = await rollout.promote(by="ann", reason="reviewed")
    assert answer.state is PromoteState.GROWING

    await _moved(rollout)

    status = await rollout.status()
    assert (status.phase, status.growth) == (RolloutPhase.VERIFYING, ANNS)
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.BAKING)
    assert [(step.by, step.grown) for step in rollout.script.inputs("switch")] == [("ann", False), ("ann", True)]


class MeetsMoves(Interceptor):
    """Lets Temporal answer cancellations as it does while a workflow goes on in a new run."""

    def __init__(self, moves: int) -> None:
        """Answer so many of them in that way."""
        self.moves = moves

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - the SDK's name
        """Stand before the client."""
        return _MeetsMoves(next, self)


class _MeetsMoves(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, meets: MeetsMoves) -> None:  # noqa: A002 - the SDK's name
        super().__init__(next)
        self._meets = meets

    async def cancel_workflow(self, input: CancelWorkflowInput) -> None:  # noqa: A002 - as the SDK has it
        if self._meets.moves:
            self._meets.moves -= 1
            told = "Workflow operation can not be applied because workflow is closing."
            raise RPCError(told, RPCStatusCode.FAILED_PRECONDITION, b"")
        await super().cancel_workflow(input)


async def test_a_cancellation_that_meets_a_move_is_repeated(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion()
    meets = MeetsMoves(3)
    config = client.config()
    config["interceptors"] = [meets]

    assert await RolloutClient(Client(**config)).cancel(rollout.deployment)

    await rollout.ended()
    assert (await rollout.handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert meets.moves == 0
