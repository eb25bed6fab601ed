"""A Celadon of which a test can break one part at a time: a Temporal of its own, and a database."""

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio import workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from celadon.client.search_attributes import register_search_attributes
from celadon.domain.language.contracts import TASK_QUEUE, WORKFLOW_TYPE
from celadon.domain.language.messages import RolloutStatus
from celadon.stack.temporal_server import running_temporal
from celadon.table.core.engine import Table
from tests.cli.conftest import Command, stay_connected
from tests.client.statuses import rollout_status
from tests.table.rows import Rows
from tests.workers import running

Findings = dict[str, dict[str, str]]
"""What ``doctor -o json`` printed, by check."""

Doctor = Callable[..., Coroutine[Any, Any, tuple[int, Findings]]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_temporal(reachable_directory: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Run a Temporal server that no other module's workflows are on; it knows no search attribute yet."""
    directory = reachable_directory / f"temporal-{request.module.__name__}"
    directory.mkdir()
    async with running_temporal(directory) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def temporal(own_temporal: str, on_table: Table, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Let commands speak to that server, which knows the search attributes now; return a client of it."""
    del on_table
    monkeypatch.setenv("TEMPORAL_ADDRESS", own_temporal)
    client = await Client.connect(own_temporal, data_converter=pydantic_data_converter)
    await register_search_attributes(client)
    return client


@workflow.defn(name=WORKFLOW_TYPE)
class WaitingRollout:
    """A rollout that waits for ever and answers."""

    @workflow.run
    async def run(self, payload: Any = None) -> None:
        """Wait."""
        del payload
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def status(self) -> RolloutStatus:
        """Answer as a rollout does that waits."""
        return rollout_status()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_worker(own_temporal: str) -> AsyncIterator[None]:
    """Run a worker on that server."""
    client = await Client.connect(own_temporal, data_converter=pydantic_data_converter)
    runner = UnsandboxedWorkflowRunner()
    async with running(Worker(client, task_queue=TASK_QUEUE, workflows=[WaitingRollout], workflow_runner=runner)):
        yield


@pytest_asyncio.fixture(loop_scope="session")
async def well(own_worker: None, temporal: Client, rows: Rows) -> Rows:
    """Return the rows of a Celadon that is well: one deployment is live, a router serves it, keeper and worker live."""
    del own_worker, temporal
    await rows.live()
    await rows.router("edge-1", 1000)
    await stay_connected(rows)
    # Nobody sends them here, and on a busy machine they would wait long enough to be told.
    await rows.sql("delete from outbox")
    return rows


@pytest.fixture
def doctor(command: Command) -> Doctor:
    """Return what runs ``celadon doctor``; it gives the exit code and the findings by check."""

    async def run(*arguments: str) -> tuple[int, Findings]:
        result = await command("doctor", "-o", "json", *arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        report = json.loads(result.stdout)
        assert "healthy" in report, report
        assert report["healthy"] is (result.exit_code == 0)
        return result.exit_code, {one["check"]: one for one in report["findings"]}

    return run


def not_fine(findings: Findings) -> dict[str, str]:
    """Return the verdicts that are not fine."""
    return {check: one["verdict"] for check, one in findings.items() if one["verdict"] != "fine"}


async def without_keeper(rows: Rows) -> None:
    """Let the keeper be dead, as a worker's SIGKILL leaves it once its lease has expired."""
    await rows.sql("update keepers set seen_at = to_timestamp(0)")
