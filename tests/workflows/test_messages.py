"""What rollouts make of input that people mistype."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from celadon.domain.language.contracts import TASK_QUEUE, WORKFLOW_TYPE
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.states import RolloutPhase, SetCondition
from worker.registration import replayer

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

BAD_MESSAGES: list[Any] = [7, "promote", [1], {"revison": 2}, {"revision": "2"}, {"revision": 2, "by": 7}]


@pytest.mark.parametrize(
    "payload",
    [None, 7, [], {"deployment": "typo"}, {"deployment": "typo", "revision": 1, "replica": 3}, {"deployment": "Typo_"}],
    ids=json.dumps,
)
async def test_a_start_that_does_not_parse_fails_at_once(
    client: Client,
    rollout: "RunningRollout",
    payload: object,
) -> None:
    handle = await client.start_workflow(
        WORKFLOW_TYPE,
        payload,
        id=f"rollout-typo-{rollout.deployment}",
        task_queue=TASK_QUEUE,
    )

    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()

    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == RefusalCode.INVALID_PAYLOAD
    # Without a step; a workflow task may be tried again on a busy machine.
    kinds = [EventType.Name(event.event_type) for event in (await handle.fetch_history()).events]
    assert [kind for kind in kinds if "WORKFLOW_TASK" not in kind] == [
        "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED",
        "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED",
    ]


async def test_a_start_with_control_characters_fails_at_once(client: Client, rollout: "RunningRollout") -> None:
    name = f"typo-{rollout.deployment}"
    handle = await client.start_workflow(
        WORKFLOW_TYPE,
        {"deployment": name, "revision": 1, "requested_by": "ann\x1b[2J"},
        id=f"rollout-{name}",
        task_queue=TASK_QUEUE,
    )

    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()

    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == RefusalCode.INVALID_PAYLOAD
    replayed = await replayer().replay_workflow(await handle.fetch_history(), raise_on_replay_failure=False)
    assert replayed.replay_failure is None


async def test_a_promotion_with_control_characters_is_refused_by_signal_and_by_update(
    rollout: "RunningRollout",
) -> None:
    await rollout.wait_for_promotion()
    hostile = {"by": "ann", "reason": "\u202ereviewed"}

    await rollout.handle.signal("promote", hostile)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await rollout.handle.execute_update("promote", hostile)

    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == RefusalCode.INVALID_PAYLOAD
    status = await rollout.status()
    assert status.phase is RolloutPhase.AWAITING_PROMOTION
    assert [one.refusal.code for one in status.refused] == [RefusalCode.INVALID_PAYLOAD]
    assert "\\u202e" in str(status.refused[0].refusal)
    replayed = await replayer().replay_workflow(await rollout.handle.fetch_history(), raise_on_replay_failure=False)
    assert replayed.replay_failure is None


async def test_a_start_under_a_foreign_workflow_id_fails_and_says_which_is_right(
    client: Client,
    rollout: "RunningRollout",
) -> None:
    handle = await client.start_workflow(
        WORKFLOW_TYPE,
        {"deployment": "chat", "revision": 1},
        id=f"foreign-{rollout.deployment}",
        task_queue=TASK_QUEUE,
    )

    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()

    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == RefusalCode.WRONG_WORKFLOW_ID
    assert "rollout-chat" in failed.value.cause.message


@pytest.mark.parametrize("message", ["promote", "abort", "rollback"])
async def test_bad_signals_are_kept_as_refused_and_the_rollout_goes_on(
    rollout: "RunningRollout",
    message: str,
) -> None:
    await rollout.wait_for_promotion()

    for payload in BAD_MESSAGES:
        await rollout.handle.signal(message, payload)

    status = await rollout.status()
    assert [one.refusal.code for one in status.refused] == [RefusalCode.INVALID_PAYLOAD] * len(BAD_MESSAGES)
    assert status.refused_total == len(BAD_MESSAGES)
    assert (await rollout.promote()).epoch == 5


@pytest.mark.parametrize("message", ["promote", "abort", "rollback"])
@pytest.mark.parametrize("payload", BAD_MESSAGES, ids=json.dumps)
async def test_bad_updates_are_rejected_with_the_reason(
    rollout: "RunningRollout",
    message: str,
    payload: object,
) -> None:
    await rollout.wait_for_promotion()

    with pytest.raises(WorkflowUpdateFailedError) as rejected:
        await rollout.handle.execute_update(message, payload)

    assert isinstance(rejected.value.cause, ApplicationError)
    assert rejected.value.cause.type == RefusalCode.INVALID_PAYLOAD


async def test_a_rejected_update_writes_no_history(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    before = await rollout.events()

    with pytest.raises(WorkflowUpdateFailedError):
        await rollout.handle.execute_update("promote", {"revision": 99})

    assert await rollout.events() == before


@pytest.mark.parametrize("message", ["supersede", "freeze"])
async def test_messages_of_later_versions_are_refused_by_name(rollout: "RunningRollout", message: str) -> None:
    await rollout.wait_for_promotion()

    await rollout.handle.signal(message, {"by": "ann"})
    with pytest.raises(WorkflowUpdateFailedError) as rejected:
        await rollout.handle.execute_update(message, {"by": "ann"})

    assert isinstance(rejected.value.cause, ApplicationError)
    assert rejected.value.cause.type == RefusalCode.UNKNOWN_MESSAGE
    assert message in rejected.value.cause.message
    refused = (await rollout.status()).refused
    assert [(one.message, one.refusal.code) for one in refused] == [(message, RefusalCode.UNKNOWN_MESSAGE)]


async def test_only_the_last_hundred_refusals_are_kept_and_the_rest_is_counted(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    for _ in range(120):
        await rollout.handle.signal("promote", 7)

    status = await rollout.status()
    assert status.refused_total == 120
    assert len(status.refused) == 10


async def test_an_edge_of_another_green_is_forgotten_once_the_rollout_has_its_own(rollout: "RunningRollout") -> None:
    """A reset workflow hears again what its first run was told, before it has opened a green of its own."""
    opens = rollout.script.holds["provision_green"] = asyncio.Event()
    await rollout.start()
    await rollout.until(lambda: "provision_green" in rollout.script.names())
    await rollout.handle.signal(
        "green_changed",
        {"route_set": 9, "seq": 99, "condition": "ready", "running": 3, "ready": 3, "required": 3, "wanted": 3},
    )
    opens.set()
    await rollout.phase(RolloutPhase.PROVISIONING)
    await rollout.events()
    assert (await rollout.status()).phase is RolloutPhase.PROVISIONING

    await rollout.edge(SetCondition.READY)

    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    assert (await rollout.promote()).epoch == 5


async def test_an_older_edge_changes_nothing(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    await rollout.handle.signal(
        "green_changed",
        {"route_set": 2, "seq": 0, "condition": "failed", "running": 0, "ready": 0, "required": 3, "wanted": 3},
    )
    await rollout.handle.signal(
        "green_changed",
        {"route_set": 9, "seq": 99, "condition": "failed", "running": 0, "ready": 0, "required": 3, "wanted": 3},
    )

    assert (await rollout.promote()).epoch == 5
