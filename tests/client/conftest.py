"""A Temporal server of its own, with rollouts whose activities follow a script."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from celadon.client.rollouts import RolloutClient
from celadon.client.search_attributes import register_search_attributes
from celadon.domain.decisions.workflow_condition import WorkflowCondition, WorkflowState
from celadon.domain.language.contracts import GREEN_CHANGED, TASK_QUEUE, workflow_id
from celadon.domain.language.messages import GreenChanged, RolloutRequest
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.states import RolloutPhase, SetCondition
from celadon.service.overview import ask_workflow
from celadon.service.rollout_view import WorkflowAnswer
from celadon.stack.temporal_server import running_temporal
from tests.workers import PATIENT_TASKS, running
from tests.workflows.conftest import GREEN, Script, ScriptedSteps
from worker.registration import workflow_runner
from workflows.rollout import BlueGreenRollout

DEADLINE_SECONDS: Final = 90.0
MOST_POLLS: Final = 10
"""More than a worker has open at a time, by the SDK's default of 5."""


class Site:
    """One Temporal server, with its rollouts of ``chat``."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.rollouts = RolloutClient(client, task_timeout=PATIENT_TASKS)
        self.steps = ScriptedSteps()
        self.script = self.steps.scripts["chat"] = Script()

    @asynccontextmanager
    async def worker(self, build: type[Any] = BlueGreenRollout) -> AsyncIterator[None]:
        """Run a worker of a build."""
        worker = Worker(
            self.client,
            task_queue=TASK_QUEUE,
            workflows=[build],
            activities=self.steps.all(),
            workflow_runner=workflow_runner() if build is BlueGreenRollout else UnsandboxedWorkflowRunner(),
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        )
        async with running(worker):
            yield

    async def start(self) -> None:
        """Start a rollout."""
        request = parse_payload(RolloutRequest, {"deployment": "chat", "revision": 2, "requested_by": "ann"})
        await self.rollouts.start(request)

    async def edge(self) -> None:
        """Tell the rollout that green is ready."""
        edge = GreenChanged(
            route_set=GREEN,
            seq=1,
            condition=SetCondition.READY,
            running=3,
            ready=3,
            required=3,
            wanted=3,
            failed=False,
        )
        await self.rollouts.signal(workflow_id("chat"), GREEN_CHANGED, edge.model_dump(mode="json"))

    async def wait_for_promotion(self) -> None:
        """Bring a rollout to the gate, where it waits without any task."""
        async with self.worker():
            await self.start()
            await until(lambda: is_true("provision_green" in self.script.names()))
            await self.edge()

            async def waits() -> bool:
                return (await self.rollouts.status("chat")).phase is RolloutPhase.AWAITING_PROMOTION

            await until(waits)

    async def occupy_open_polls(self) -> None:
        """Give tasks of others to polls that a worker has left; Temporal may not know yet that nobody hears them."""
        for number in range(MOST_POLLS):
            await self.client.start_workflow("Occupies", id=f"occupies-{number}", task_queue=TASK_QUEUE)

    async def condition(self) -> WorkflowCondition:
        """Return the condition of the rollout that runs."""
        found = await self.rollouts.condition(workflow_id("chat"))
        assert found is not None
        return found

    async def until_state(self, state: WorkflowState) -> WorkflowCondition:
        """Wait until the rollout's workflow is in ``state``."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (condition := await self.condition()).state is not state:
            assert time.monotonic() < deadline, condition
            await asyncio.sleep(0.1)
        return condition

    async def told(self, is_told: Callable[[WorkflowAnswer], bool]) -> WorkflowAnswer:
        """Ask the workflow until something is told; a question may time out before anybody looks."""
        found: list[WorkflowAnswer] = []

        async def ask() -> bool:
            found[:] = [await ask_workflow(self.rollouts, "chat")]
            return is_told(found[0])

        await until(ask)
        return found[0]

    async def told_stuck(self) -> WorkflowAnswer:
        """Ask the workflow until it is told why it does not get on."""
        return await self.told(lambda answer: answer.stuck is not None)

    async def execution(self) -> WorkflowExecutionStatus | None:
        """Return how the latest run of the workflow is."""
        return (await self.client.get_workflow_handle(workflow_id("chat")).describe()).status


async def is_true(truth: bool) -> bool:  # noqa: FBT001 - a condition
    return truth


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.1)


@pytest_asyncio.fixture(loop_scope="session")
async def site(reachable_directory: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """Run a Temporal server on which no worker has ever been."""
    directory = reachable_directory / request.node.name
    directory.mkdir()
    async with running_temporal(directory) as address:
        client = await Client.connect(address, data_converter=pydantic_data_converter)
        await register_search_attributes(client)
        yield Site(client)
