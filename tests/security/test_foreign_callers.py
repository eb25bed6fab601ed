"""Steps of a rollout run for its own workflow only: Temporal starts an activity on any queue for whoever asks."""

import dataclasses
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.own_workflows import REFUSED, refuse_caller
from celadon.domain.language.contracts import TASK_QUEUE, workflow_id
from celadon.domain.language.names import RolloutId, RouteSetId
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import SwitchStep
from tests.api.conftest import ApiClient, api, keys, rows  # noqa: F401 - fixtures
from tests.table.rows import Opened, Rows
from tests.workers import running

pytestmark = pytest.mark.parts


@workflow.defn(name="Attack", sandboxed=False)
class Attack:
    """A workflow of somebody else, which asks for one of Celadon's steps on Celadon's queue."""

    @workflow.run
    async def run(self, activity: str, step: dict[str, Any]) -> Any:
        return await workflow.execute_activity(
            activity,
            step,
            task_queue=TASK_QUEUE,
            start_to_close_timeout=timedelta(seconds=30),
        )


@workflow.defn(name="BlueGreenRollout", sandboxed=False)
class Impostor(Attack):
    """The same, under the name of Celadon's workflow."""

    @workflow.run
    async def run(self, activity: str, step: dict[str, Any]) -> Any:
        return await Attack.run(self, activity, step)


@asynccontextmanager
async def attacker(env: WorkflowEnvironment, kind: type[Attack]) -> AsyncIterator[str]:
    """Run a worker of the attacker's; yield its queue."""
    queue = f"attack-{uuid.uuid4().hex}"
    worker = Worker(env.client, task_queue=queue, workflows=[kind], workflow_runner=UnsandboxedWorkflowRunner())
    async with running(worker):
        yield queue


@pytest.fixture
async def waiting(rows: Rows) -> Opened:  # noqa: F811 - the fixture
    """Return a rollout whose healthy green waits for a promotion, beside a live blue."""
    await rows.live()
    return await rows.ready("run-2")


def switch_of(opened: Opened) -> dict[str, Any]:
    step: dict[str, Any] = opened.switch_step().model_dump(mode="json")
    return step


async def refused(rows: Rows, opened: Opened, attack: Any) -> None:  # noqa: F811
    with pytest.raises(WorkflowFailureError) as failed:
        await attack
    assert isinstance(failed.value.cause, ActivityError)
    assert isinstance(failed.value.cause.cause, ApplicationError)
    assert failed.value.cause.cause.type == REFUSED
    assert await rows.value("select live_set from deployments") == opened.blue


async def test_a_workflow_of_another_type_gets_no_step(
    api: ApiClient,  # noqa: ARG001, F811 - its worker serves the queue
    rows: Rows,  # noqa: F811
    waiting: Opened,
    temporal_env: WorkflowEnvironment,
) -> None:
    async with attacker(temporal_env, Attack) as queue:
        attack = temporal_env.client.execute_workflow(
            "Attack", args=["switch", switch_of(waiting)], id=workflow_id("chat"), task_queue=queue
        )
        await refused(rows, waiting, attack)


async def test_a_workflow_under_another_id_gets_no_step(
    api: ApiClient,  # noqa: ARG001, F811
    rows: Rows,  # noqa: F811
    waiting: Opened,
    temporal_env: WorkflowEnvironment,
) -> None:
    async with attacker(temporal_env, Impostor) as queue:
        attack = temporal_env.client.execute_workflow(
            "BlueGreenRollout", args=["switch", switch_of(waiting)], id="rollout-other", task_queue=queue
        )
        await refused(rows, waiting, attack)


async def test_a_workflow_under_the_rollouts_own_name_moves_no_traffic_that_nobody_signed(
    api: ApiClient,  # noqa: ARG001, F811
    rows: Rows,  # noqa: F811
    waiting: Opened,
    temporal_env: WorkflowEnvironment,
) -> None:
    by_timer = {**switch_of(waiting), "message": None, "door": "timer", "by": "policy"}
    async with attacker(temporal_env, Impostor) as queue:
        answers = [
            await temporal_env.client.execute_workflow(
                "BlueGreenRollout", args=["switch", step], id=workflow_id("chat"), task_queue=queue
            )
            for step in (switch_of(waiting), by_timer)
        ]

    assert [answer["refusal"]["code"] for answer in answers] == ["UNSIGNED", "FORBIDDEN"]
    assert await rows.value("select live_set from deployments") == waiting.blue


async def test_without_a_workflow_no_step_runs(
    api: ApiClient,  # noqa: ARG001, F811
    rows: Rows,  # noqa: F811
    waiting: Opened,
    temporal_env: WorkflowEnvironment,
) -> None:
    with pytest.raises(RPCError, match="disabled"):
        await temporal_env.client.execute_activity(
            "switch",
            switch_of(waiting),
            id=f"attack-{uuid.uuid4().hex}",
            task_queue=TASK_QUEUE,
            start_to_close_timeout=timedelta(seconds=30),
        )

    assert await rows.value("select live_set from deployments") == waiting.blue


def test_a_worker_of_another_server_runs_no_step_without_a_workflow_either(waiting_step: SwitchStep) -> None:
    info = dataclasses.replace(ActivityEnvironment.default_info(), workflow_id=None, workflow_type=None)
    assert "no workflow asks" in refuse_caller(info, waiting_step)


@pytest.fixture
def waiting_step() -> SwitchStep:
    return SwitchStep(
        deployment="chat",
        rollout=RolloutId(1),
        blue_set=None,
        green_set=RouteSetId(1),
        by="eve",
        door=Channel.TIMER,
        reason="",
        ack_timeout_seconds=1,
    )
