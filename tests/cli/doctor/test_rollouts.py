"""Rollouts that were terminated, and workflows that outlived their rollout."""

import asyncio
import subprocess
import uuid
from datetime import timedelta

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from celadon.cli.doctor.left_workflows import check_left_workflows
from celadon.cli.session import open_session
from celadon.client.running_workflows import running_workflows
from celadon.domain.language.contracts import TASK_QUEUE, WORKFLOW_TYPE
from celadon.stack.programs import temporal_program
from celadon.table.read.inspection import inspect
from tests.cli.doctor.conftest import Doctor, not_fine, without_keeper
from tests.table.rows import Opened, Rows


async def _start(temporal: Client) -> str:
    """Start the workflow of a rollout of ``chat``, which no worker carries out; return the run's id."""
    handle = await temporal.start_workflow(WORKFLOW_TYPE, id="rollout-chat", task_queue=TASK_QUEUE)
    assert handle.result_run_id is not None
    return handle.result_run_id


def _terminate(temporal: Client) -> None:
    """Terminate it as a person does who does not know better."""
    address = temporal.service_client.config.target_host
    command = [str(temporal_program()), "workflow", "terminate", "-w", "rollout-chat", "--address", address]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


async def _until_listed(temporal: Client, *workflows: str) -> None:
    """Wait until Temporal lists these as running, and no others: it lists them a moment after they begin or end."""
    async with asyncio.timeout(60):
        while [one.workflow_id for one in await running_workflows(temporal)] != [*workflows]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


async def terminated(temporal: Client, rows: Rows) -> Opened:
    """Return a rollout that waited for its promotion when its workflow was terminated."""
    opened = await rows.ready(await _start(temporal))
    _terminate(temporal)
    return opened


async def _state(rows: Rows, opened: Opened) -> tuple[str | None, str, str]:
    """Return the outcome of a rollout, and the states of its green and its blue set."""
    rollout = opened.begun.rollout
    return (
        await rows.value("select outcome from rollouts where id = :id", id=rollout),
        await rows.value("select state from route_sets where id = :id", id=opened.green),
        await rows.value("select state from route_sets where id = :id", id=opened.blue),
    )


@pytest.mark.parametrize("keeper_lives", [True, False])
async def test_a_terminated_rollout_is_ended_as_the_keeper_ends_it(
    doctor: Doctor,
    temporal: Client,
    well: Rows,
    *,
    keeper_lives: bool,
) -> None:
    opened = await terminated(temporal, well)
    if not keeper_lives:
        await without_keeper(well)
    check, keeper = f"rollout {opened.begun.rollout}", {} if keeper_lives else {"keeper": "wrong"}

    _, found = await doctor()
    assert not_fine(found) == {check: "wrong"} | keeper
    assert await _state(well, opened) == (None, "open", "open")

    code, mended = await doctor("--fix")
    assert (code, not_fine(mended)) == (0 if keeper_lives else 1, {check: "mended"} | keeper)
    assert await _state(well, opened) == ("failed", "draining", "open")
    assert await well.value("select live_set from deployments") == opened.blue
    reasons = await well.rows("select reason from rollout_events where rollout = :id", id=opened.begun.rollout)
    assert "terminated" in {row["reason"] for row in reasons}

    assert not_fine((await doctor())[1]) == keeper


async def test_a_rollout_of_which_temporal_knows_nothing_is_a_persons_to_judge(doctor: Doctor, well: Rows) -> None:
    """An environment that names another Temporal by mistake must not end all that runs elsewhere."""
    opened = await well.ready(str(uuid.uuid4()))
    check = f"rollout {opened.begun.rollout}"

    code, findings = await doctor("--fix")

    assert (code, not_fine(findings)) == (1, {check: "wrong"})
    assert "make sure that the workers use this Temporal" in findings[check]["next_step"]
    assert await _state(well, opened) == (None, "open", "open")


async def test_the_lease_of_a_keeper_that_lives_is_left_alone(doctor: Doctor, temporal: Client, well: Rows) -> None:
    await terminated(temporal, well)
    before = await well.rows("select * from keepers")

    code, _ = await doctor("--fix")

    assert code == 0
    assert await well.rows("select * from keepers") == before


async def test_a_lease_that_doctor_took_is_free_again_at_once(doctor: Doctor, temporal: Client, well: Rows) -> None:
    await terminated(temporal, well)
    await without_keeper(well)

    await doctor("--fix")

    [lease] = await well.rows("select fence, seen_at < now() - interval '1 hour' as free from keepers")
    assert lease["fence"] > well.fence
    assert lease["free"]
    assert "the last one was" not in (await doctor())[1]["keeper"]["told"]


async def test_a_rollout_whose_workflow_runs_is_left_alone(doctor: Doctor, temporal: Client, well: Rows) -> None:
    opened = await well.ready(await _start(temporal))

    code, findings = await doctor("--fix")
    _terminate(temporal)

    assert (code, not_fine(findings)) == (0, {})
    assert await _state(well, opened) == (None, "open", "open")


async def test_a_workflow_whose_rollout_has_ended_is_terminated(doctor: Doctor, temporal: Client, well: Rows) -> None:
    run = await _start(temporal)
    await well.finish(await well.switched(run))
    await well.acknowledge("edge-1", 1000)
    await _until_listed(temporal, "rollout-chat")

    async def status() -> WorkflowExecutionStatus | None:
        return (await temporal.get_workflow_handle("rollout-chat", run_id=run).describe()).status

    code, found = await doctor()
    assert (code, not_fine(found)) == (1, {"workflow rollout-chat": "wrong"})
    assert await status() is WorkflowExecutionStatus.RUNNING

    code, mended = await doctor("--fix")
    assert (code, not_fine(mended)) == (0, {"workflow rollout-chat": "mended"})
    assert await status() is WorkflowExecutionStatus.TERMINATED
    await _until_listed(temporal)

    assert (await doctor())[0] == 0


async def test_a_workflow_that_no_worker_has_taken_up_is_told_and_left(temporal: Client, well: Rows) -> None:
    """Of what a person has started, only a person can know whether it is still wanted."""
    await _start(temporal)
    await _until_listed(temporal, "rollout-chat")
    async with open_session(None) as session:
        inspection = await session.read(inspect)
        later = inspection.model_copy(update={"at": inspection.at + timedelta(minutes=2)})
        at_once = [one async for one in check_left_workflows(session, inspection)]
        [told] = [one async for one in check_left_workflows(session, later)]
    _terminate(temporal)
    del well

    assert at_once == []
    assert (told.finding.verdict, told.mend) == ("odd", None)
    assert "no worker has registered" in told.finding.told
