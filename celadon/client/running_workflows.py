"""Which rollouts' workflows run, what became of one, and the end of one that can do nothing more."""

from datetime import datetime
from enum import StrEnum

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import WORKFLOW_TYPE


class RunningWorkflow(Record):
    """One run of a rollout's workflow."""

    workflow_id: str
    run_id: str
    started_at: datetime


class RunState(StrEnum):
    """What Temporal knows of a run of a workflow."""

    RUNNING = "running"
    CLOSED = "closed"
    UNKNOWN = "unknown"
    """Temporal has no such run: it is another Temporal or namespace, or has forgotten it."""


async def run_state(client: Client, workflow_id: str, run_id: str | None = None) -> RunState:
    """Return what became of one run of a workflow, or of the latest when none is named.

    Raises:
        RPCError: Temporal did not say.

    """
    try:
        description = await client.get_workflow_handle(workflow_id, run_id=run_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return RunState.UNKNOWN
        raise
    return RunState.RUNNING if description.status is WorkflowExecutionStatus.RUNNING else RunState.CLOSED


async def running_workflows(client: Client) -> tuple[RunningWorkflow, ...]:
    """Return the workflows of rollouts that run, in the order of their ids.

    Raises:
        RPCError: Temporal did not answer, or refuses to list them.

    """
    query = f"WorkflowType='{WORKFLOW_TYPE}' AND ExecutionStatus='Running'"
    workflows = [
        RunningWorkflow(
            workflow_id=one.id,
            run_id=one.run_id,
            started_at=one.start_time,
        )
        async for one in client.list_workflows(query)
    ]
    return tuple(sorted(workflows, key=lambda one: one.workflow_id))


async def terminate_run(client: Client, workflow: RunningWorkflow, reason: str) -> bool:
    """Terminate one run of a workflow, and no later one; false when it does not run any more.

    Raises:
        RPCError: Temporal did not do it for another reason.

    """
    try:
        await client.get_workflow_handle(workflow.workflow_id, run_id=workflow.run_id).terminate(reason=reason)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True
