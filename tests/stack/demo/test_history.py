"""What a history tells, read from real histories of a real server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowHandle
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from celadon.domain.language.names import Epoch
from celadon.domain.language.steps import SwitchAnswer
from celadon.stack.demo.history import activity_ended_at, billable_actions, decided_switch
from tests.workers import running

TASK_QUEUE = "demo-history"
PROMOTE = frozenset({"promote"})
COMMITTED_AT = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)
PHASE = SearchAttributeKey.for_keyword("CeladonPhase")


@activity.defn(name="switch")
async def commit_switch(epoch: int | None) -> SwitchAnswer:
    """Answer as the table does."""
    return SwitchAnswer(
        epoch=None if epoch is None else Epoch(epoch),
        at=None if epoch is None else COMMITTED_AT,
        silent=("router-b",),
    )


@activity.defn
async def fail_twice() -> None:
    """Succeed at the third attempt."""
    if activity.info().attempt < 3:
        raise ApplicationError("not yet")


@activity.defn
async def do_little() -> None:
    """Stand for a local activity."""


@workflow.defn(name="DemoHistory")
class Promotable:
    """Waits for a promotion or its timer, then switches; the delay is in seconds."""

    def __init__(self) -> None:
        """Begin without a promotion."""
        self._promoted = False

    @workflow.run
    async def run(self, delay: float, epoch: int | None) -> None:
        """Wait, then switch."""
        if delay:
            try:
                await workflow.wait_condition(lambda: self._promoted, timeout=delay)
            except TimeoutError:
                self._promoted = True
        await workflow.execute_activity(commit_switch, epoch, start_to_close_timeout=timedelta(seconds=10))

    @workflow.signal(name="promote")
    def promote_by_signal(self) -> None:
        """Promote."""
        self._promoted = True

    @workflow.update(name="promote")
    def promote_by_update(self) -> None:
        """Promote."""
        self._promoted = True

    @workflow.signal
    def note(self) -> None:
        """Do nothing."""


@workflow.defn(name="DemoActions")
class Costly:
    """Does one of each thing that is billed."""

    def __init__(self) -> None:
        """Begin without a signal."""
        self._told = 0

    @workflow.run
    async def run(self) -> None:
        """Cost 1 start, 3 attempts, 1 timer, 1 upsert, 1 for the local activities; messages come from outside."""
        retry = RetryPolicy(initial_interval=timedelta(milliseconds=10))
        timeout = timedelta(seconds=10)
        await workflow.execute_activity(fail_twice, start_to_close_timeout=timeout, retry_policy=retry)
        await asyncio.sleep(0.05)
        workflow.upsert_search_attributes([PHASE.value_set("baking")])
        await asyncio.gather(
            *(workflow.execute_local_activity(do_little, start_to_close_timeout=timeout) for _ in "ab")
        )
        await workflow.wait_condition(lambda: self._told == 2)

    @workflow.signal
    def tell(self) -> None:
        """Count."""
        self._told += 1

    @workflow.update
    def ask(self) -> None:
        """Count."""
        self._told += 1


@pytest.fixture(scope="module")
async def worker(temporal_env: WorkflowEnvironment) -> AsyncIterator[None]:
    """Run a worker for the workflows above."""
    worker = Worker(
        temporal_env.client,
        task_queue=TASK_QUEUE,
        workflows=[Promotable, Costly],
        activities=[commit_switch, fail_twice, do_little],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with running(worker):
        yield


async def start(
    env: WorkflowEnvironment, name: str, *, delay: float, epoch: int | None = 7
) -> WorkflowHandle[Promotable, None]:
    return await env.client.start_workflow(
        Promotable.run, args=[delay, epoch], id=f"demo-{name}", task_queue=TASK_QUEUE
    )


@pytest.mark.usefixtures("worker")
async def test_actions_are_counted_as_they_are_billed(temporal_env: WorkflowEnvironment) -> None:
    handle = await temporal_env.client.start_workflow(Costly.run, id="demo-actions", task_queue=TASK_QUEUE)
    await handle.execute_update(Costly.ask)
    await handle.signal(Costly.tell)
    await handle.result()
    events = (await handle.fetch_history()).events
    started, attempts, timers, upserts, local, updates, signals = 1, 3, 1, 1, 1, 1, 1
    assert billable_actions(events) == started + attempts + timers + upserts + local + updates + signals


def test_an_empty_history_costs_nothing() -> None:
    assert billable_actions([]) == 0


@pytest.mark.usefixtures("worker")
async def test_a_switch_is_told_with_its_answer(temporal_env: WorkflowEnvironment) -> None:
    handle = await start(temporal_env, "answer", delay=0.05)
    await handle.result()
    switch = decided_switch((await handle.fetch_history()).events, activity="switch", messages=PROMOTE)
    assert switch is not None
    assert (switch.epoch, switch.silent) == (7, ("router-b",))
    assert switch.committed_at == COMMITTED_AT
    assert activity_ended_at((await handle.fetch_history()).events, "switch") is not None
    assert activity_ended_at((await handle.fetch_history()).events, "drain") is None


@pytest.mark.usefixtures("worker")
async def test_a_timer_decided_when_it_fired(temporal_env: WorkflowEnvironment) -> None:
    # Its note comes with the start: one that is sent after it may come after the timer.
    handle = await temporal_env.client.start_workflow(
        Promotable.run, args=[0.5, 7], id="demo-timer", task_queue=TASK_QUEUE, start_signal="note"
    )
    await handle.result()
    history = await handle.fetch_history()
    fired = [event for event in history.events if event.HasField("timer_fired_event_attributes")]
    switch = decided_switch(history.events, activity="switch", messages=PROMOTE)
    assert switch is not None
    assert switch.decided_at == fired[0].event_time.ToDatetime(tzinfo=UTC)


@pytest.mark.usefixtures("worker")
async def test_a_signal_decided_when_it_came_in(temporal_env: WorkflowEnvironment) -> None:
    handle = await start(temporal_env, "signal", delay=60)
    await handle.signal(Promotable.note)
    await handle.signal("promote")
    await handle.result()
    history = await handle.fetch_history()
    signals = [event for event in history.events if event.HasField("workflow_execution_signaled_event_attributes")]
    switch = decided_switch(history.events, activity="switch", messages=PROMOTE)
    assert switch is not None
    assert switch.decided_at == signals[-1].event_time.ToDatetime(tzinfo=UTC)


@pytest.mark.usefixtures("worker")
async def test_an_update_decided_before_the_workflow_saw_it(temporal_env: WorkflowEnvironment) -> None:
    handle = await start(temporal_env, "update", delay=60)
    await handle.execute_update("promote")
    await handle.result()
    history = await handle.fetch_history()
    accepted = [
        event for event in history.events if event.HasField("workflow_execution_update_accepted_event_attributes")
    ]
    switch = decided_switch(history.events, activity="switch", messages=PROMOTE)
    assert switch is not None
    assert (
        history.events[0].event_time.ToDatetime(tzinfo=UTC)
        < switch.decided_at
        < accepted[0].event_time.ToDatetime(tzinfo=UTC)
    )


@pytest.mark.usefixtures("worker")
async def test_a_switch_that_waited_for_nothing_was_decided_when_it_was_scheduled(
    temporal_env: WorkflowEnvironment,
) -> None:
    handle = await start(temporal_env, "at-once", delay=0)
    await handle.result()
    history = await handle.fetch_history()
    scheduled = [event for event in history.events if event.HasField("activity_task_scheduled_event_attributes")]
    switch = decided_switch(history.events, activity="switch", messages=PROMOTE)
    assert switch is not None
    assert switch.decided_at == scheduled[0].event_time.ToDatetime(tzinfo=UTC)


@pytest.mark.usefixtures("worker")
async def test_a_refused_switch_is_none(temporal_env: WorkflowEnvironment) -> None:
    handle = await start(temporal_env, "refused", delay=0, epoch=None)
    await handle.result()
    assert decided_switch((await handle.fetch_history()).events, activity="switch", messages=PROMOTE) is None
