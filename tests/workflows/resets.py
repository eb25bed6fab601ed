"""Resetting a run of a workflow, as a person does it with Temporal's own tools."""

import uuid

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client


async def reset_to_task(client: Client, workflow_id: str, run_id: str | None = None, *, first: bool = False) -> None:
    """Reset a run, the newest one unless another is named, to its last workflow task or to its first one."""
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
            workflow_task_finish_event_id=tasks[0 if first else -1],
            request_id=str(uuid.uuid4()),
        ),
    )
