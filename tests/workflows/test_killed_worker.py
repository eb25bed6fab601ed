"""What a rollout waits for at most when its worker is killed."""

from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from celadon.client.rollouts import RolloutClient
from celadon.domain.language import contracts
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.payload import parse_payload
from tests.workflows.conftest import RunningRollout, Script, ScriptedSteps
from workflows import calls


async def test_a_decision_that_a_killed_worker_took_up_is_soon_another_ones(
    temporal_env: WorkflowEnvironment, scripted_steps: ScriptedSteps
) -> None:
    script = scripted_steps.scripts["killed"] = Script()
    rollout = RunningRollout(temporal_env, "killed", script, None)
    await RolloutClient(temporal_env.client).start(
        parse_payload(RolloutRequest, {"deployment": rollout.deployment, "revision": 2})
    )
    history = await rollout.handle.fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    assert started.workflow_task_timeout.ToTimedelta() == contracts.WORKFLOW_TASK_TIMEOUT


async def test_a_step_of_a_killed_worker_is_soon_another_ones(rollout: RunningRollout) -> None:
    await rollout.start()
    history = await rollout.handle.fetch_history()
    asked = [
        event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert asked
    assert {one.heartbeat_timeout.ToTimedelta() for one in asked} == {calls.HEARTBEAT}
