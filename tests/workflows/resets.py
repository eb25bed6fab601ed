"""Resetting a run of a workflow, as a person does it with Temporal's own tools."""

import uuid

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client


async def count_tasks(client: Client, workflow_id: str) -> int:
    """Count the workflow tasks that the newest run has completed."""
    handle = client.get_workflow_handle(workflow_id)
    kinds = [event.event_type async for event in handle.fetch_history_events()]
    return kinds.count(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)


async def reset_to_task(
    client: Client, workflow_id: str, run_id: str | None = None, *, first: bool = False, task: int | None = None
) -> None:
    """Reset a run to its last workflow task, to its first one or to a numbered one.

    Args:
        client: of the server.
        workflow_id: whose run it is.
        run_id: of the run; when not given, the newest one.
        first: whether it is reset to its first task.
        task: the number of the last task that stays, from 1 on.

    """
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    tasks = [
        event.event_id
        async for event in handle.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id or ""),
            reason="a person pressed the other wrong button",
            workflow_task_finish_event_id=tasks[0 if first else -1 if task is None else task - 1],
            request_id=str(uuid.uuid4()),
        ),
    )
