"""What Temporal's converter cannot decode: a start fails at once, an update is rejected, a signal changes nothing."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from celadon.domain.language import contracts
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.states import RolloutPhase
from tests.workflows.conftest import DEADLINE_SECONDS
from worker.workflow_input import RefusingConverter

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

pytestmark = pytest.mark.parts

JSON = b"json/plain"
UNDECODABLE = {
    "broken JSON": Payload(metadata={"encoding": JSON}, data=b'{"deployment": '),
    "an unknown encoding": Payload(metadata={"encoding": b"binary/encrypted"}, data=b"xx"),
    "no encoding": Payload(data=b"{}"),
    "no text": Payload(metadata={"encoding": JSON}, data=b'"\xff"'),
    "half a character": Payload(metadata={"encoding": JSON}, data=rb'{"reason": "\ud800"}'),
    "5,000 lists in one another": Payload(metadata={"encoding": JSON}, data=b"[" * 5000 + b"]" * 5000),
}


@pytest.mark.parametrize("name", UNDECODABLE)
def test_an_untyped_input_that_cannot_be_decoded_is_a_refusal(name: str) -> None:
    with pytest.raises(ApplicationError) as refused:
        RefusingConverter().from_payloads([UNDECODABLE[name]])

    assert (refused.value.type, refused.value.non_retryable) == (RefusalCode.INVALID_PAYLOAD, True)


@pytest.mark.parametrize("name", UNDECODABLE)
@pytest.mark.parametrize("workflow", [contracts.WORKFLOW_TYPE, contracts.ASK_TYPE])
async def test_a_start_that_cannot_be_decoded_fails_at_once(
    client: Client, rollout: "RunningRollout", workflow: str, name: str
) -> None:
    handle = await client.start_workflow(
        workflow,
        RawValue(UNDECODABLE[name]),
        id=contracts.workflow_id(rollout.deployment),
        task_queue=contracts.TASK_QUEUE,
    )

    with pytest.raises(WorkflowFailureError) as failed:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await handle.result()

    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == RefusalCode.INVALID_PAYLOAD


async def test_a_second_input_that_cannot_be_decoded_fails_a_start_too(
    client: Client, rollout: "RunningRollout"
) -> None:
    handle = await client.start_workflow(
        contracts.WORKFLOW_TYPE,
        args=[{"deployment": rollout.deployment, "revision": 2}, RawValue(UNDECODABLE["broken JSON"])],
        id=contracts.workflow_id(rollout.deployment),
        task_queue=contracts.TASK_QUEUE,
    )

    with pytest.raises(WorkflowFailureError) as failed:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await handle.result()

    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == RefusalCode.INVALID_PAYLOAD


async def test_updates_and_signals_that_cannot_be_decoded_change_nothing(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    for payload in UNDECODABLE.values():
        with pytest.raises(WorkflowUpdateFailedError):
            await rollout.handle.execute_update(contracts.PROMOTE, RawValue(payload))
        await rollout.handle.signal(contracts.PROMOTE, RawValue(payload))

    await rollout.until_nothing_is_in_flight()
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    await rollout.promote(by="ann")
