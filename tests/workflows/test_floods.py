"""Floods of signals, up to Temporal's own end of them: a rollout stays decidable and goes on in new runs."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import pytest
import pytest_asyncio
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from bench.time_skipping import time_skipping_temporal
from celadon.client.patience import NoAnswerError
from celadon.client.rollouts import is_moving, signals_are_exhausted
from celadon.domain.language import contracts
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.stack.temporal_server import MOST_SIGNALS
from tests.workers import PATIENT_TASKS, running
from tests.workflows.conftest import RunningRollout, Script, ScriptedSteps
from worker.registration import WORKFLOWS, replayer, workflow_runner

pytestmark = pytest.mark.parts

ENOUGH_OF_A_RUN: Final = 990
"""Of the signals that a run takes on a stack: a few are the keeper's own."""
MOST_OF_A_RUN: Final = 9_990
"""Temporal takes 10,000 signals in one run where nobody has set less."""
FLOOD: Final = 20_000
SENDERS: Final = 40
PATIENCE_SECONDS: Final = 300.0
_PAUSE_SECONDS: Final = 0.05


@pytest_asyncio.fixture(loop_scope="session")
async def own_temporal() -> AsyncIterator[WorkflowEnvironment]:
    """Run a Temporal server that no other test shares, without a worker."""
    async with time_skipping_temporal() as env:
        yield env


@pytest_asyncio.fixture(loop_scope="session")
async def bounded_temporal() -> AsyncIterator[WorkflowEnvironment]:
    """Run a Temporal server that takes as many signals as that of a stack."""
    async with time_skipping_temporal(f"history.maximumSignalsPerExecution={MOST_SIGNALS}") as env:
        yield env


@asynccontextmanager
async def _worker(env: WorkflowEnvironment, steps: ScriptedSteps) -> AsyncIterator[None]:
    worker = Worker(
        env.client,
        task_queue=contracts.TASK_QUEUE,
        workflows=WORKFLOWS,
        activities=steps.all(),
        workflow_runner=workflow_runner(),
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        # Two seconds for ten thousand signals in one task are enough on a machine that has nothing else to do.
        debug_mode=True,
    )
    async with running(worker):
        yield


def _flooded(env: WorkflowEnvironment, steps: ScriptedSteps, task_timeout: timedelta = PATIENT_TASKS) -> RunningRollout:
    script = steps.scripts["flooded"] = Script()
    return RunningRollout(env, "flooded", script, None, task_timeout)


async def _send(rollout: RunningRollout, numbers: Iterator[int]) -> None:
    for number in numbers:
        while True:
            try:
                await rollout.handle.signal("promote", {"by": f"p{number}", "revision": 99})
            except RPCError as error:
                if not signals_are_exhausted(error) and not is_moving(error):
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                break


async def _flood(rollout: RunningRollout, signals: int) -> None:
    numbers = iter(range(signals))
    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(_send(rollout, numbers))


async def _send_all_that_are_taken(rollout: RunningRollout) -> int:
    for number in itertools.count():
        try:
            await rollout.handle.signal("promote", {"by": f"p{number}", "revision": 99})
        except RPCError as error:
            if not signals_are_exhausted(error):
                raise
            return number
    raise AssertionError("unreachable")


async def _until_read(rollout: RunningRollout, signals: int) -> None:
    """Wait until a rollout has met all signals: its first task has much to read."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(NoAnswerError):
            if (await rollout.status()).refused_total == signals:
                return
        assert time.monotonic() < deadline


async def _promote_and_go_back(rollout: RunningRollout) -> None:
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    await rollout.promote(by="ann")
    await rollout.rollback(by="ann")
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ROLLED_BACK


async def test_a_task_reads_a_hundred_messages_and_counts_the_rest(own_temporal: WorkflowEnvironment) -> None:
    steps = ScriptedSteps()
    rollout = _flooded(own_temporal, steps)
    async with _worker(own_temporal, steps):
        await rollout.wait_for_promotion()
        await rollout.until_nothing_is_in_flight()

    await _flood(rollout, 150)
    # Nothing is wrong with this one, but that it comes in the same task after so many others.
    await rollout.handle.signal("promote", {"by": "ann"})

    async with _worker(own_temporal, steps):
        await _until_read(rollout, 151)
        assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
        await _promote_and_go_back(rollout)
        history = await rollout.handle.fetch_history()
    told = [note for step in rollout.script.inputs("switch") for note in step.notes if note.kind == "messages_left_out"]
    assert [note.evidence["unread"] for note in told] == ["51"]
    replayed = await replayer().replay_workflow(history, raise_on_replay_failure=False)
    assert replayed.replay_failure is None


async def test_a_rollout_whose_worker_was_away_is_decided_after_most_of_the_signals_that_a_run_takes(
    own_temporal: WorkflowEnvironment,
) -> None:
    steps = ScriptedSteps()
    # A server that hands so many over at once has to give a task as long as they take, here on any machine.
    rollout = _flooded(own_temporal, steps, timedelta(minutes=2))
    async with _worker(own_temporal, steps):
        await rollout.wait_for_promotion()
        await rollout.until_nothing_is_in_flight()

    await _flood(rollout, MOST_OF_A_RUN)

    async with _worker(own_temporal, steps):
        await _until_read(rollout, MOST_OF_A_RUN)
        await _promote_and_go_back(rollout)


async def test_a_rollout_whose_worker_was_away_is_decided_after_all_signals_that_a_run_takes(
    bounded_temporal: WorkflowEnvironment,
) -> None:
    steps = ScriptedSteps()
    rollout = _flooded(bounded_temporal, steps)
    async with _worker(bounded_temporal, steps):
        await rollout.wait_for_promotion()
        await rollout.until_nothing_is_in_flight()

    taken = await _send_all_that_are_taken(rollout)

    assert ENOUGH_OF_A_RUN <= taken < MOST_SIGNALS
    async with _worker(bounded_temporal, steps):
        await _until_read(rollout, taken)
        await _promote_and_go_back(rollout)


async def test_an_update_in_a_flood_is_answered_and_the_rollout_outlives_the_signals_of_two_runs(
    own_temporal: WorkflowEnvironment,
) -> None:
    steps = ScriptedSteps()
    rollout = _flooded(own_temporal, steps)
    async with _worker(own_temporal, steps):
        await rollout.wait_for_promotion(bake="30d")
        first = (await rollout.handle.describe()).run_id
        flood = asyncio.create_task(_flood(rollout, FLOOD))
        await rollout.until_event("WORKFLOW_EXECUTION_SIGNALED", 200)

        await rollout.promote(by="ann")

        assert not flood.done()
        await flood
        await rollout.phase(RolloutPhase.BAKING)
        assert (await rollout.handle.describe()).run_id != first
        await rollout.rollback(by="ann")
        ended = await rollout.ended()
        assert ended.result is not None
        assert ended.result.outcome is RolloutOutcome.ROLLED_BACK
