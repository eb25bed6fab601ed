"""A step that ends without an error of its own ends the rollout cleanly: whoever waits is told, at once."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    Interceptor,
    StartActivityInput,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle

from celadon.domain.language import contracts
from celadon.domain.language.states import RolloutPhase, SetCondition
from tests.workers import running
from tests.workflows.conftest import DEADLINE_SECONDS
from workflows.rollout import BlueGreenRollout

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout, ScriptedSteps

pytestmark = pytest.mark.parts

QUEUE = "lost-steps"
WITHIN = timedelta(seconds=1)


class LostSwitches(Interceptor):
    """Lets Temporal give a switch up after a moment, as it does when an operator bounds it or a server loses it."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002, ARG002 - as the SDK has it
        """Stand before every workflow."""
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:  # noqa: A002 - as the SDK has it
        if input.activity in {"switch", "switch_back", "judge"}:
            input.schedule_to_close_timeout = WITHIN
        return super().start_activity(input)


@pytest.mark.parametrize(
    ("update", "step"), [("promote", "switch"), ("pause", "judge"), ("abort", "judge"), ("rollback", "switch_back")]
)
async def test_who_waits_for_a_step_that_never_answers_is_told(
    rollout: "RunningRollout",
    scripted_steps: "ScriptedSteps",
    client: Client,
    update: str,
    step: str,
) -> None:
    rollout.script.hold(step)
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[BlueGreenRollout],
        activities=scripted_steps.all(),
        workflow_runner=UnsandboxedWorkflowRunner(),
        interceptors=[LostSwitches()],
    )
    async with running(worker), asyncio.timeout(DEADLINE_SECONDS):
        handle = await client.start_workflow(
            contracts.WORKFLOW_TYPE,
            {"deployment": rollout.deployment, "revision": 2, "policy": {"bake": "1h"}, "requested_by": "ann"},
            id=contracts.workflow_id(rollout.deployment),
            task_queue=QUEUE,
        )
        await rollout.until(lambda: "provision_green" in rollout.script.names())
        await rollout.edge(SetCondition.READY)
        await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
        if step == "switch_back":
            await handle.execute_update("promote", {"by": "ann"})
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await handle.execute_update(update, {"by": "ann"})

        assert isinstance(failed.value.cause, ApplicationError)
        ended = await rollout.ended()
        assert f"{step} did not end" in ended.failure
        assert (await handle.describe()).status is WorkflowExecutionStatus.FAILED
