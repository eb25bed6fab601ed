"""The Temporal server from its package."""

from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueRequest, RespondWorkflowTaskCompletedRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from celadon.stack.temporal_server import LONGEST_PAYLOAD, running_temporal

pytestmark = pytest.mark.parts


@workflow.defn
class NeverStarted:
    """A workflow without a worker; it waits on the server."""

    @workflow.run
    async def run(self) -> None:
        """Do nothing."""


async def test_keeps_workflows_from_one_start_to_the_next(tmp_path: Path) -> None:
    async with running_temporal(tmp_path) as address:
        client = await Client.connect(address)
        await client.start_workflow(NeverStarted.run, id="kept", task_queue="nobody-listens")
    async with running_temporal(tmp_path) as address:
        client = await Client.connect(address)
        description = await client.get_workflow_handle("kept").describe()
    assert description.status is WorkflowExecutionStatus.RUNNING


async def test_writes_ahead(tmp_path: Path) -> None:
    async with running_temporal(tmp_path):
        assert (tmp_path / "temporal.sqlite-wal").exists()


async def test_a_payload_is_bounded(tmp_path: Path) -> None:
    async with running_temporal(tmp_path) as address:
        client = await Client.connect(address)
        handle = await client.start_workflow(NeverStarted.run, id="bounded", task_queue="nobody-listens")
        await handle.signal("note", "x" * (LONGEST_PAYLOAD - 1024))
        with pytest.raises(RPCError, match="exceeds"):
            await handle.signal("note", "x" * LONGEST_PAYLOAD)


async def test_more_events_than_by_default_may_come_during_a_task(tmp_path: Path) -> None:
    """By default the server fails the task that is running when the 101st comes."""
    async with running_temporal(tmp_path) as address:
        client = await Client.connect(address)
        handle = await client.start_workflow(NeverStarted.run, id="flooded", task_queue="tasks")
        task = await client.workflow_service.poll_workflow_task_queue(
            PollWorkflowTaskQueueRequest(namespace="default", task_queue=TaskQueue(name="tasks"), identity="test"),
        )
        for number in range(150):
            await handle.signal("note", number)
        kinds = [event.event_type async for event in handle.fetch_history_events()]
        await client.workflow_service.respond_workflow_task_completed(
            RespondWorkflowTaskCompletedRequest(task_token=task.task_token, identity="test"),
        )

    assert EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED not in kinds
