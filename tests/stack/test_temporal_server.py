"""The Temporal server from its package."""

from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus

from celadon.stack.temporal_server import running_temporal

pytestmark = pytest.mark.parts


@workflow.defn
class NeverStarted:
    """A workflow without a worker; it waits on the server."""

    @workflow.run
    async def run(self) -> None:
        """Do nothing."""


async def test_keeps_workflows_from_one_start_to_the_next(tmp_path: Path) -> None:
    async with running_temporal(tmp_path) as address:
        client = await Client.connect(address)
        await client.start_workflow(NeverStarted.run, id="kept", task_queue="nobody-listens")
    async with running_temporal(tmp_path) as address:
        client = await Client.connect(address)
        description = await client.get_workflow_handle("kept").describe()
    assert description.status is WorkflowExecutionStatus.RUNNING


async def test_writes_ahead(tmp_path: Path) -> None:
    async with running_temporal(tmp_path):
        assert (tmp_path / "temporal.sqlite-wal").exists()
