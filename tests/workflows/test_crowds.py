"""However many and however large messages are, a rollout stays decidable and what it carries stays small."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from celadon.client.rollouts import RolloutClient
from celadon.domain.language import contracts
from celadon.domain.language.attestation import START_MEMO
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.limits import REFUSAL_BYTES, TRANSPORTED_BYTES
from celadon.domain.language.states import RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import Step
from workflows.rollout import BlueGreenRollout

if TYPE_CHECKING:
    from temporalio.client import Client

    from tests.workflows.conftest import RunningRollout

pytestmark = pytest.mark.parts

HANDLERS = workflow._Definition.must_from_class(BlueGreenRollout)  # noqa: SLF001 - what Temporal would call
GIANT = "x" * 1_500_000
SIGNALS = (*(name for name in HANDLERS.signals if name is not None), "never heard of")


async def _assert_small(rollout: "RunningRollout") -> None:
    """Check what travels: the status answer and the input of every step."""
    status = await rollout.status()
    assert len(status.model_dump_json()) < TRANSPORTED_BYTES
    for _, step in rollout.script.asked:
        assert len(step.model_dump_json()) < TRANSPORTED_BYTES
    for one in status.refused:
        assert len(one.refusal.message.encode()) + len(one.refusal.next_step.encode()) <= REFUSAL_BYTES


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    "payload",
    [
        {"by": GIANT},
        {"reason": GIANT},
        {GIANT: 1},
        {"revision": GIANT},
        {"last_error": GIANT, "route_set": 2, "seq": 9},
        GIANT,
        [GIANT],
    ],
    ids=["by", "reason", "key", "revision", "cause", "text", "list"],
)
async def test_a_rollout_that_was_sent_giants_is_decided_as_ever(
    rollout: "RunningRollout",
    signal: str,
    payload: Any,
) -> None:
    await rollout.wait_for_promotion()

    await rollout.handle.signal(signal, payload)
    await rollout.handle.signal(signal, payload)
    await rollout.promote(by="ann")

    await rollout.handle.signal("rollback", {"by": "ann"})
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ROLLED_BACK
    await _assert_small(rollout)


async def test_a_signal_with_a_giant_name_is_refused_and_small(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    await rollout.handle.signal("p" * 900, {"by": "ann"})

    status = await rollout.status()
    assert status.refused[-1].refusal.code is RefusalCode.UNKNOWN_MESSAGE
    await _assert_small(rollout)


@pytest.mark.parametrize("signal", SIGNALS[:-1])
async def test_a_signal_with_two_inputs_is_refused(rollout: "RunningRollout", signal: str) -> None:
    await rollout.wait_for_promotion()

    await rollout.handle.signal(signal, args=[{"by": "ann"}, 2])

    status = await rollout.status()
    assert status.phase is RolloutPhase.AWAITING_PROMOTION
    assert status.refused[-1].refusal.code is RefusalCode.INVALID_PAYLOAD
    assert "2 inputs" in status.refused[-1].refusal.message


@pytest.mark.parametrize("update", [contracts.PROMOTE, contracts.ABORT, contracts.ROLLBACK])
async def test_an_update_with_two_inputs_is_refused(rollout: "RunningRollout", update: str) -> None:
    await rollout.wait_for_promotion()

    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await rollout.handle.execute_update(update, args=[{"by": "ann"}, 2])

    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == RefusalCode.INVALID_PAYLOAD


async def test_a_start_with_two_inputs_fails_at_once(client: "Client", rollout: "RunningRollout") -> None:
    handle = await client.start_workflow(
        contracts.WORKFLOW_TYPE,
        args=[{"deployment": rollout.deployment, "revision": 2}, 2],
        id=contracts.workflow_id(rollout.deployment),
        task_queue=contracts.TASK_QUEUE,
    )

    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()

    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == RefusalCode.INVALID_PAYLOAD


@pytest.mark.parametrize("memo", [7, {"rights": "all"}, {"request_id": {}}], ids=json.dumps)
async def test_a_start_with_a_malformed_memo_fails_at_once(
    client: "Client",
    rollout: "RunningRollout",
    memo: object,
) -> None:
    handle = await client.start_workflow(
        contracts.WORKFLOW_TYPE,
        {"deployment": rollout.deployment, "revision": 2},
        id=contracts.workflow_id(rollout.deployment),
        task_queue=contracts.TASK_QUEUE,
        memo={START_MEMO: memo},
    )

    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()

    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == RefusalCode.INVALID_PAYLOAD


@pytest.mark.parametrize(
    "memo",
    [
        {"request_id": "x" * 201},
        {"request_id": "x" * 120_000},
        {"request_id": "a\0b"},
        {"issuer": "é" * 151},
        {"signature": "x" * 400_000},
        {"rights": ["promote"] * 20_000},
    ],
    ids=lambda memo: f"{next(iter(memo))}-{len(json.dumps(memo))}",
)
async def test_a_start_with_a_giant_memo_fails_at_once(
    client: "Client",
    rollout: "RunningRollout",
    memo: dict[str, Any],
) -> None:
    handle = await client.start_workflow(
        contracts.WORKFLOW_TYPE,
        {"deployment": rollout.deployment, "revision": 2},
        id=contracts.workflow_id(rollout.deployment),
        task_queue=contracts.TASK_QUEUE,
        memo={START_MEMO: memo},
    )

    with pytest.raises(WorkflowFailureError) as failed:
        async with asyncio.timeout(60):
            await handle.result()

    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == RefusalCode.INVALID_PAYLOAD
    assert rollout.script.asked == []


@pytest.mark.parametrize("memo", [7, "x" * 1000, {"request_id": {}}, [1]], ids=["number", "text", "object", "list"])
async def test_a_memo_that_nobody_can_read_counts_as_none(
    client: "Client",
    rollout: "RunningRollout",
    memo: object,
) -> None:
    """Else every start with a request id would fail while this run is the deployment's latest."""
    handle = await client.start_workflow(
        contracts.WORKFLOW_TYPE,
        {"deployment": rollout.deployment, "revision": 2},
        id=contracts.workflow_id(rollout.deployment),
        task_queue=contracts.TASK_QUEUE,
        memo={START_MEMO: memo},
    )
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    assert await RolloutClient(client).run_of(rollout.deployment, "id") is None


async def test_an_update_with_a_giant_id_is_refused(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await rollout.handle.execute_update("promote", {"by": "ann"}, id="i" * 300)

    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == RefusalCode.INVALID_PAYLOAD


async def test_a_crowd_of_valid_aborts_is_one_abort(rollout: "RunningRollout") -> None:
    rollout.script.blue = None
    await rollout.start()
    held = rollout.script.hold("enter_phase")
    await rollout.edge(SetCondition.RUNNING)
    await rollout.until(lambda: "enter_phase" in rollout.script.names())

    reason = "r" * 2000
    await asyncio.gather(*(rollout.handle.signal("abort", {"by": f"p{n}", "reason": reason}) for n in range(300)))
    held.set()
    ended = await rollout.ended()

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED
    assert rollout.script.notes().count("abort_requested") == 1
    await _assert_small(rollout)


async def test_the_audit_log_is_told_how_many_messages_it_does_not_tell(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    for n in range(110):
        await rollout.handle.signal("promote", {"by": f"p{n}", "revision": 99})

    await rollout.promote(by="ann")
    await rollout.handle.signal("rollback", {"by": "ann"})
    await rollout.ended()

    lines = {
        (note.run, note.seq): note for _, step in rollout.script.asked if isinstance(step, Step) for note in step.notes
    }
    told = [note for note in lines.values() if note.kind == "messages_left_out"]
    refused = [note for note in lines.values() if note.kind == "message_refused"]
    assert len(refused) + sum(int(note.evidence["messages"]) for note in told) == 110


async def test_a_flood_of_others_keeps_no_edge_of_green_out(rollout: "RunningRollout") -> None:
    await rollout.start()
    held = rollout.script.hold("enter_phase")
    await rollout.edge(SetCondition.RUNNING)
    await rollout.until(lambda: "enter_phase" in rollout.script.names())

    await asyncio.gather(*(rollout.handle.signal("promote", {"by": f"p{n}"}) for n in range(300)))
    await rollout.edge(SetCondition.READY)
    held.set()

    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)


async def test_edges_that_a_flood_left_unread_are_asked_for_anew(rollout: "RunningRollout") -> None:
    await rollout.start()
    held = rollout.script.hold("enter_phase")
    await rollout.edge(SetCondition.RUNNING)
    await rollout.until(lambda: "enter_phase" in rollout.script.names())

    await asyncio.gather(*(rollout.handle.signal(contracts.GREEN_CHANGED, {"seq": "no"}) for _ in range(300)))
    held.set()

    await rollout.until(lambda: "ask_for_edge" in rollout.script.names())
