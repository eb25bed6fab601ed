"""Asking Temporal whether a rollout's workflow gets on: no question to a worker, and an answer within a time."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import (
    EventType,
    PendingWorkflowTaskState,
    TaskQueueType,
    TimeoutType,
    WorkflowTaskFailedCause,
)
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import PendingActivityInfo, PendingWorkflowTaskInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from celadon.domain.decisions.workflow_condition import (
    PendingTask,
    StepFailure,
    TaskFailure,
    TaskFault,
    TaskReading,
    WorkflowCondition,
    judge_workflow,
    unknown_condition,
)
from celadon.domain.language.contracts import TASK_QUEUE
from celadon.table.core.outages import TABLE_OUTAGES

PATIENCE: Final = timedelta(seconds=3)
"""How long Temporal may take for each of its answers."""

_PAGE: Final = 20
_MOST_PAGES: Final = 5
"""Signals come after the task's failure too; of more than these the failure is not looked for any further."""

_HARMLESS: Final = frozenset(
    {
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_STICKY_TASK_QUEUE,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FAILOVER_CLOSE_COMMAND,
    },
)
"""What is called a failed task when something came in between; the next one takes it."""


_OUTAGES: Final = frozenset(kind.__name__ for kind in (*TABLE_OUTAGES, ConnectionError))
"""The errors of steps that a later attempt may not meet, by the name under which Temporal keeps them."""


async def read_condition(client: Client, workflow_id: str, patience: timedelta = PATIENCE) -> WorkflowCondition | None:
    """Return whether the workflow that runs under an id gets on; nothing when none runs.

    Temporal may take ``patience`` for each of its answers.

    Never raises for what Temporal does not answer: the condition then says that it is not known.
    """
    try:
        described, polled = await asyncio.gather(
            client.get_workflow_handle(workflow_id).describe(rpc_timeout=patience),
            _polled(client, patience),
        )
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return None
        return judge_workflow(workflow_id, await _reading(client, described, polled, patience), datetime.now(UTC))
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        return unknown_condition(f"Temporal did not answer: {error.message}")


async def _reading(
    client: Client,
    described: WorkflowExecutionDescription,
    polled: tuple[bool, datetime | None],
    patience: timedelta,
) -> TaskReading:
    raw = described.raw_description
    pending = raw.pending_workflow_task if raw.HasField("pending_workflow_task") else None
    polls_known, polled_at = polled
    return TaskReading(
        pending=None if pending is None else _pending(pending),
        failure=None if pending is None else await _last_failure(client, described, patience),
        steps=tuple(_step(one) for one in raw.pending_activities if one.HasField("last_failure")),
        polled_at=polled_at,
        polls_known=polls_known,
    )


def _pending(task: PendingWorkflowTaskInfo) -> PendingTask:
    first = task.original_scheduled_time if task.HasField("original_scheduled_time") else task.scheduled_time
    return PendingTask(
        attempt=task.attempt,
        scheduled_at=_moment(first),
        taken=task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED,
    )


def _step(pending: PendingActivityInfo) -> StepFailure:
    failure = pending.last_failure
    return StepFailure(
        step=pending.activity_type.name,
        attempt=pending.attempt,
        message=_in_a_line(failure),
        is_outage=failure.application_failure_info.type in _OUTAGES,
        at=_moment(pending.last_attempt_complete_time) or _moment(pending.last_started_time),
    )


def _in_a_line(failure: Failure) -> str:
    """Return a step's error without the statement and the values that SQLAlchemy appends on further lines."""
    # SQLAlchemy writes the driver's class before the driver's message.
    message = next(iter(failure.message.splitlines()), "").rpartition(">: ")[2]
    kind = failure.application_failure_info.type
    return ": ".join(filter(None, (kind, message)))


async def _polled(client: Client, patience: timedelta) -> tuple[bool, datetime | None]:
    """Return whether Temporal says who asks for the tasks of our queue, and when somebody did so last.

    Temporal forgets a worker five minutes after it has asked last.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=TASK_QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        queue = await client.workflow_service.describe_task_queue(request, timeout=patience)
    except RPCError:
        return False, None
    asked = [at for one in queue.pollers if (at := _moment(one.last_access_time)) is not None]
    return True, max(asked, default=None)


async def _last_failure(
    client: Client, described: WorkflowExecutionDescription, patience: timedelta
) -> TaskFailure | None:
    """Return how the last workflow task ended, when it failed; nothing too when its history cannot be read."""
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=described.raw_description.workflow_execution_info.execution,
        maximum_page_size=_PAGE,
    )
    for _ in range(_MOST_PAGES):
        try:
            page = await client.workflow_service.get_workflow_execution_history_reverse(request, timeout=patience)
        except RPCError:
            return None
        for event in page.history.events:
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                return None
            failure = _failure(event)
            if failure is not None:
                return failure
        if not page.next_page_token:
            return None
        request.next_page_token = page.next_page_token
    return None


def _failure(event: HistoryEvent) -> TaskFailure | None:
    """Return the failure that an event tells; a task that no worker has taken in time is none."""
    at = _moment(event.event_time)
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
        failed = event.workflow_task_failed_event_attributes
        if failed.cause in _HARMLESS:
            return None
        is_other = failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
        message = failed.failure.message or WorkflowTaskFailedCause.Name(failed.cause)
        return TaskFailure(fault=TaskFault.NONDETERMINISM if is_other else TaskFault.FAILURE, message=message, at=at)
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
        timeout = event.workflow_task_timed_out_event_attributes.timeout_type
        if timeout != TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START:
            return TaskFailure(fault=TaskFault.TIMEOUT, message="", at=at)
    return None


def _moment(stamp: Timestamp) -> datetime | None:
    """Return a moment; nothing when Temporal has left it out."""
    return stamp.ToDatetime(UTC) if stamp.seconds else None
