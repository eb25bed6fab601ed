"""Rollouts whose workflow runs and does not get on."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from celadon.cli.doctor.rollouts import check_rollouts
from celadon.cli.session import open_session
from celadon.domain.language.contracts import TASK_QUEUE, WORKFLOW_TYPE
from celadon.table.read.inspection import inspect
from tests.cli.conftest import Command
from tests.cli.doctor.conftest import Doctor, not_fine
from tests.table.rows import Rows
from tests.workers import running

pytestmark = pytest.mark.parts


@workflow.defn(name=WORKFLOW_TYPE)
class CannotAnswer:
    """A rollout that waits, and that another version of the worker cannot take up."""

    @workflow.run
    async def run(self, payload: Any = None) -> None:
        """Wait."""
        del payload
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def status(self) -> str:
        """Refuse, as a worker does that cannot replay the history."""
        raise RuntimeError("[TMPRL1100] Nondeterminism error: Activity machine does not handle this event")


async def _begin(temporal: Client, rows: Rows) -> str:
    """Return the check of a rollout of ``chat`` that waits for its promotion."""
    handle = await temporal.start_workflow(WORKFLOW_TYPE, id="rollout-chat", task_queue=TASK_QUEUE)
    assert handle.result_run_id is not None
    opened = await rows.ready(handle.result_run_id)
    await rows.sql("update rollouts set phase = 'awaiting_promotion'")
    return f"rollout {opened.begun.rollout}"


@pytest_asyncio.fixture(loop_scope="session")
async def _ended(temporal: Client) -> AsyncIterator[None]:
    """Terminate the rollout of a test after it."""
    yield
    await temporal.get_workflow_handle("rollout-chat").terminate()


@pytest.mark.usefixtures("_ended")
async def test_a_rollout_that_no_worker_carries_is_wrong_at_every_door_of_the_command_line(
    doctor: Doctor,
    command: Command,
    temporal: Client,
    rows: Rows,
) -> None:
    check = await _begin(temporal, rows)

    code, found = await doctor("--fix")

    assert code == 1
    assert not_fine(found)[check] == "wrong"
    assert "chat is in awaiting_promotion, but does not get on: its workflow task waits since" in found[check]["told"]
    assert "start a worker ('celadon worker')" in found[check]["next_step"]
    assert "temporal workflow terminate -w rollout-chat" in found[check]["next_step"]
    status = (await command("rollout", "status", "chat")).stdout
    shown = " ".join(status.split())
    assert "the rollout does not get on: its workflow task waits since" in shown
    assert "● awaiting promotion" in shown
    assert "next: start a worker" in shown
    assert "celadon promote" not in shown


@pytest.mark.usefixtures("_ended")
async def test_a_rollout_that_this_version_cannot_continue_is_wrong_before_any_message_comes(
    temporal: Client,
    rows: Rows,
) -> None:
    await _begin(temporal, rows)
    runner = UnsandboxedWorkflowRunner()
    async with (
        running(Worker(temporal, task_queue=TASK_QUEUE, workflows=[CannotAnswer], workflow_runner=runner)),
        open_session(None) as session,
    ):
        [told] = [one async for one in check_rollouts(session, await session.read(inspect))]

    assert told.finding.verdict == "wrong"
    assert "the workers' version cannot continue its workflow, which another version began" in told.finding.told
    assert "start workers of the version that began it" in told.finding.next_step
