"""Owed signals that Temporal has not taken."""

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from celadon.domain.language.contracts import GREEN_CHANGED, TASK_QUEUE, WORKFLOW_TYPE
from tests.cli.doctor.conftest import Doctor, not_fine, without_keeper
from tests.table.rows import Rows

_OWE = (
    "insert into outbox (workflow_id, signal, payload, created_at) "
    "values (:workflow, :signal, '{\"seq\": 7}', now() - interval '2 minutes')"
)


async def test_they_are_sent_when_no_keeper_lives_that_does(doctor: Doctor, temporal: Client, well: Rows) -> None:
    handle = await temporal.start_workflow(WORKFLOW_TYPE, id="rollout-hears", task_queue=TASK_QUEUE)
    await well.sql("delete from outbox")
    await well.sql(_OWE, workflow="rollout-hears", signal=GREEN_CHANGED)
    await (await temporal.start_workflow(WORKFLOW_TYPE, id="rollout-is-gone", task_queue=TASK_QUEUE)).terminate()
    await well.sql(_OWE, workflow="rollout-is-gone", signal=GREEN_CHANGED)
    await without_keeper(well)

    code, mended = await doctor("--fix")
    signals = [
        event.workflow_execution_signaled_event_attributes.signal_name
        async for event in handle.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    ]
    await handle.terminate()

    assert (code, not_fine(mended)) == (1, {"signals": "mended", "keeper": "wrong"})
    assert mended["signals"]["done"] == "sent 1; dropped 1 whose workflow does not run any more"
    assert signals == [GREEN_CHANGED]
    assert await well.value("select count(*) from outbox") == 0
    assert not_fine((await doctor())[1]) == {"keeper": "wrong"}


async def test_a_keeper_that_lives_sends_its_signals_itself(doctor: Doctor, well: Rows) -> None:
    await well.sql("delete from outbox")
    await well.sql(_OWE, workflow="rollout-hears", signal=GREEN_CHANGED)

    code, findings = await doctor("--fix")

    assert (code, not_fine(findings)) == (1, {"signals": "wrong"})
    assert "its worker's log" in findings["signals"]["next_step"]
    assert await well.value("select count(*) from outbox") == 1


async def test_a_signal_for_a_workflow_that_temporal_does_not_know_is_kept(doctor: Doctor, well: Rows) -> None:
    """It may be another Temporal than the workers'."""
    await well.sql("delete from outbox")
    await well.sql(_OWE, workflow="rollout-elsewhere", signal=GREEN_CHANGED)
    await without_keeper(well)

    code, findings = await doctor("--fix")

    assert (code, findings["signals"]["verdict"]) == (1, "wrong")
    assert "does not know rollout-elsewhere; 1 are still owed" in findings["signals"]["next_step"]
    assert await well.value("select count(*) from outbox") == 1


async def test_one_that_cannot_be_sent_keeps_no_other_back(doctor: Doctor, temporal: Client, well: Rows) -> None:
    handle = await temporal.start_workflow(WORKFLOW_TYPE, id="rollout-hears", task_queue=TASK_QUEUE)
    await well.sql("delete from outbox")
    for workflow in ("rollout-elsewhere", "rollout-hears", "rollout-elsewhere"):
        await well.sql(_OWE, workflow=workflow, signal=GREEN_CHANGED)
    await without_keeper(well)

    _, findings = await doctor("--fix")
    await handle.terminate()

    assert findings["signals"]["done"] == "sent 1"
    assert "does not know rollout-elsewhere; 2 are still owed" in findings["signals"]["next_step"]
    assert await well.value("select count(*) from outbox where workflow_id = 'rollout-elsewhere'") == 2
