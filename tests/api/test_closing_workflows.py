"""A start in the moment between the end of a rollout in the table and the close of its workflow in Temporal."""

import asyncio

import pytest
from temporalio.testing import WorkflowEnvironment

from celadon.domain.language.contracts import WORKFLOW_TYPE, workflow_id
from celadon.domain.language.permissions import Role
from tests.api.conftest import Answer, ApiClient
from tests.revisions import serving
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

START = {"deployment": "chat", "revision": serving("r2")}


async def _leave_a_workflow_open(environment: WorkflowEnvironment) -> None:
    """Let a workflow of the deployment run that nobody ends, as that of a rollout whose last task is still to come."""
    await environment.client.start_workflow(WORKFLOW_TYPE, id=workflow_id("chat"), task_queue="nobody-works-here")


async def _close_it(environment: WorkflowEnvironment) -> None:
    await environment.client.get_workflow_handle(workflow_id("chat")).terminate("its last task")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rollouts", START),
        ("/v1/deployments/chat/rollback", {"to_revision": 1}),
    ],
)
async def test_a_start_waits_for_the_workflow_of_a_rollout_that_has_ended(
    path: str,
    body: dict[str, object],
    api: ApiClient,
    rows: Rows,
    temporal_env: WorkflowEnvironment,
) -> None:
    await rows.live()
    await rows.live("run-2", revision=serving("another"))
    await _leave_a_workflow_open(temporal_env)

    start: asyncio.Task[Answer] = asyncio.create_task(api.call("POST", path, Role.ADMIN, body=body))
    # Whether the request comes before the close or after it, it must be taken.
    await asyncio.sleep(1)
    await _close_it(temporal_env)
    answer = await start

    assert answer.status in {200, 202}, answer.text


async def test_a_start_is_refused_when_the_workflow_does_not_close(
    api: ApiClient, rows: Rows, temporal_env: WorkflowEnvironment
) -> None:
    await rows.live()
    await _leave_a_workflow_open(temporal_env)

    refused = await api.call("POST", "/v1/rollouts", Role.ADMIN, body=START)
    await _close_it(temporal_env)

    assert (refused.status, refused.code) == (409, "ROLLOUT_RUNNING")
