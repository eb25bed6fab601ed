"""An update that a worker loses on its way is asked again, on a real Temporal."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueRequest, RespondWorkflowTaskCompletedRequest

from celadon.client.patience import NoAnswerError
from celadon.domain.language.commands import PromoteAnswer, PromoteCommand
from celadon.domain.language.contracts import TASK_QUEUE
from celadon.domain.language.states import RolloutPhase
from tests.client.conftest import Site

pytestmark = pytest.mark.parts

COMMAND = PromoteCommand(by="ann", revision=2)


async def lose_an_update(site: Site) -> None:
    """Take the next task of a workflow that brings an update, and bring the task back without a word about it."""
    service = site.client.workflow_service
    queue = TaskQueue(name=TASK_QUEUE, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL)
    brings_an_update = False
    while not brings_an_update:
        request = PollWorkflowTaskQueueRequest(
            namespace=site.client.namespace,
            task_queue=queue,
            identity="loses",
        )
        task = await service.poll_workflow_task_queue(request, timeout=timedelta(seconds=70))
        if task.task_token:
            brings_an_update = bool(task.messages)
            await service.respond_workflow_task_completed(
                RespondWorkflowTaskCompletedRequest(task_token=task.task_token, identity="loses"),
            )


async def test_an_update_that_a_worker_loses_is_asked_again_and_carried_out_once(site: Site) -> None:
    await site.wait_for_promotion()
    promotion: asyncio.Task[PromoteAnswer] = asyncio.create_task(site.rollouts.promote("chat", COMMAND))
    await lose_an_update(site)

    async with site.worker():
        answer = await promotion
        status = (await site.told(lambda answer: answer.status is not None)).status

    assert status is not None
    assert (status.phase, status.epoch) == (RolloutPhase.BAKING, answer.epoch)
    assert site.script.names().count("switch") == 1


async def test_an_update_that_is_lost_for_as_long_as_anybody_waits_ends_as_no_answer(site: Site) -> None:
    await site.wait_for_promotion()

    async def lose() -> None:
        while True:
            await lose_an_update(site)

    loses = asyncio.create_task(lose())
    with pytest.raises(NoAnswerError, match="did not answer 'promote' in time"):
        await site.rollouts.promote("chat", COMMAND, patience=timedelta(seconds=5))
    loses.cancel()

    async with site.worker():
        # The poll that was given up may still take a question, which then is not answered.
        status = (await site.told(lambda answer: answer.status is not None)).status
    assert status is not None
    assert status.phase is RolloutPhase.AWAITING_PROMOTION
