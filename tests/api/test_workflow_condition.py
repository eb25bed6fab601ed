"""A rollout whose workflow does not get on, at the API's doors and among its metrics."""

import asyncio
import math
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.contrib.pydantic import pydantic_data_converter

from celadon.api import workflow_watch
from celadon.api.metrics import ApiMetrics
from celadon.api.workflow_watch import WorkflowWatch
from celadon.client.rollouts import RolloutClient
from celadon.domain.language.contracts import TASK_QUEUE, WORKFLOW_TYPE
from celadon.domain.language.permissions import Role
from celadon.stack.temporal_server import running_temporal
from celadon.table.core.engine import Table
from celadon.table.core.unfinished_rollouts import UnfinishedRollout
from tests.api.conftest import GENEROUS, running_api
from tests.gateway.router import until
from tests.table.rows import Rows


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def idle_temporal(reachable_directory: Path) -> AsyncIterator[Client]:
    """Run a Temporal server on which no worker has ever been."""
    directory = reachable_directory / f"temporal-{uuid.uuid4().hex[:8]}"
    directory.mkdir()
    async with running_temporal(directory) as address:
        yield await Client.connect(address, data_converter=pydantic_data_converter)


def _counted(metrics: ApiMetrics) -> dict[str, float]:
    return {
        sample.labels["state"]: sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if sample.name == "celadon_rollout_workflows"
    }


async def _begin(temporal: Client, rows: Rows) -> None:
    """Let the rollout of the table be one of this Temporal, to which no worker ever comes."""
    opened = await rows.ready()
    await rows.sql("update rollouts set phase = 'awaiting_promotion' where id = :id", id=opened.begun.rollout)
    await temporal.start_workflow(
        WORKFLOW_TYPE,
        id="rollout-chat",
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
    )


async def test_rollouts_that_do_not_get_on_are_counted(idle_temporal: Client, table: Table, rows: Rows) -> None:
    await _begin(idle_temporal, rows)
    metrics = ApiMetrics()
    watch = WorkflowWatch(table, RolloutClient(idle_temporal), metrics)
    assert all(math.isnan(number) for number in _counted(metrics).values())

    await watch.look()

    assert _counted(metrics) == {"healthy": 0, "failing": 0, "not_picked_up": 1, "unknown": 0}
    await rows.sql("update rollouts set outcome = 'failed', phase = 'completed', completed_at = now()")
    await watch.look()
    assert sum(_counted(metrics).values()) == 0


async def test_each_look_asks_after_those_whose_turn_it_is(idle_temporal: Client, table: Table, rows: Rows) -> None:
    await _begin(idle_temporal, rows)
    for name in ("code", "draw"):
        await rows.ready(f"run-{name}", deployment=name)
    await rows.sql("update rollouts set workflow_id = 'rollout-' || deployment")
    metrics = ApiMetrics()
    watch = WorkflowWatch(table, RolloutClient(idle_temporal), metrics, most=1)

    await watch.look()
    await watch.look()
    first_two = _counted(metrics)
    await watch.look()
    await watch.look()

    # Of two of them no workflow runs.
    assert first_two == {"healthy": 0, "failing": 0, "not_picked_up": 1, "unknown": 2}
    assert _counted(metrics) == first_two


async def test_the_api_answers_from_the_table_and_says_why_a_rollout_does_not_get_on(
    idle_temporal: Client,
    table: Table,
    rows: Rows,
) -> None:
    await _begin(idle_temporal, rows)
    environment = SimpleNamespace(client=idle_temporal)
    async with running_api(table, environment, **GENEROUS) as api:  # type: ignore[arg-type]  # its client is all
        shown = (await api.call("GET", "/v1/deployments/chat", Role.ADMIN)).json
        query = '{ deployment(name: "chat") { workflow { phase } workflowCondition { state told nextStep } } }'
        found = (await api.data(query))["deployment"]

    assert shown["phase"] == "awaiting_promotion"
    assert shown["workflow"]["status"] is None
    assert shown["workflow"]["condition"]["state"] == "not_picked_up"
    assert shown["next_step"] == shown["workflow"]["condition"]["next_step"]
    assert found["workflow"] is None
    assert found["workflowCondition"]["state"] == "NOT_PICKED_UP"
    assert "no worker asks for the tasks" in found["workflowCondition"]["told"]
    assert "start a worker" in found["workflowCondition"]["nextStep"]


async def test_a_fault_of_the_watch_is_counted_and_told_once_with_its_trace_and_an_outage_is_none(
    idle_temporal: Client,
    table: Table,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await _begin(idle_temporal, rows)
    metrics = ApiMetrics()
    async with watching(table, idle_temporal, metrics):
        await until(lambda: _counted(metrics)["not_picked_up"] == 1)
        with capture_logs() as logs:
            await rows.sql("alter table rollouts rename column workflow_id to gone")
            try:
                await until(lambda: _number(metrics, "celadon_api_table_errors_total") >= 2)
            finally:
                await rows.sql("alter table rollouts rename column gone to workflow_id")
            await until(lambda: _counted(metrics)["not_picked_up"] == 1)
            monkeypatch.setattr(workflow_watch, "read_unfinished_rollouts", _divides_by_zero)
            await until(lambda: _number(metrics, "celadon_api_faults_total", part="workflows") >= 2)

    assert _number(metrics, "celadon_api_faults_total", part="workflows") >= 2
    assert all(math.isnan(number) for number in _counted(metrics).values())
    told = [one for one in logs if one["event"] == "workflows_not_counted"]
    assert ["celadon db upgrade" in one["why"] for one in told] == [True, False]
    assert ["exc_info" in one for one in told] == [False, True]
    assert "division by zero" in told[1]["why"]


async def _divides_by_zero(tx: AsyncSession) -> list[UnfinishedRollout]:
    await tx.execute(text("select 1 / 0"))
    return []


@asynccontextmanager
async def watching(table: Table, temporal: Client, metrics: ApiMetrics) -> AsyncIterator[None]:
    """Watch until the block ends."""
    watch = WorkflowWatch(table, RolloutClient(temporal), metrics, look_seconds=0.01)
    task = asyncio.create_task(watch.watch_until_cancelled())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _number(metrics: ApiMetrics, name: str, **labels: str) -> float:
    return next(
        (
            sample.value
            for family in text_string_to_metric_families(metrics.text().decode())
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ),
        0.0,
    )
