"""The workflow ``Ask``: it gives a command, fails visibly with a refusal, and outlasts an outage while it is meant."""

import asyncio
import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError

from celadon.domain.language.contracts import ASK_TYPE, SCHEDULED_AT, SCHEDULED_BY, TASK_QUEUE
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.scheduling import AskStep
from tests.workflows.conftest import Script, ScriptedSteps, without_machine

_numbers = itertools.count(1)
REFUSED = Refusal(code=RefusalCode.NOT_AWAITING_PROMOTION, message="green does not wait", next_step="wait")


class Asking:
    """Starts ``Ask`` for a deployment of its own, as a schedule does."""

    def __init__(self, client: Client, steps: ScriptedSteps, histories: Path | None) -> None:
        self.deployment = f"asked{next(_numbers)}"
        self.script = steps.scripts[self.deployment] = Script()
        self._client = client
        self._histories = histories

    async def start(self, payload: object = None, scheduled_at: datetime | None = None) -> WorkflowHandle[Any, Any]:
        """Start it; by a schedule when there is a moment."""
        given = {"deployment": self.deployment, "command": "promote"} if payload is None else payload
        attributes = TypedSearchAttributes(
            []
            if scheduled_at is None
            else [
                SearchAttributePair(SearchAttributeKey.for_keyword(SCHEDULED_BY), "nightly"),
                SearchAttributePair(SearchAttributeKey.for_datetime(SCHEDULED_AT), scheduled_at),
            ],
        )
        return await self._client.start_workflow(
            ASK_TYPE, given, id=f"ask-{self.deployment}", task_queue=TASK_QUEUE, search_attributes=attributes
        )

    async def record(self, handle: WorkflowHandle[Any, Any], name: str) -> None:
        """Keep the history for the replay tests, when histories are recorded."""
        if self._histories is None:
            return
        content = without_machine(json.loads((await handle.fetch_history()).to_json()))
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        await asyncio.to_thread((self._histories / f"{ASK_TYPE}-{name}.json").write_text, text)


@pytest.fixture
def asking(client: Client, scripted_steps: ScriptedSteps, histories: Path | None) -> Asking:
    """Return what starts ``Ask`` for a deployment of its own."""
    return Asking(client, scripted_steps, histories)


async def failure(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    """Return with what a workflow has failed."""
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause


async def test_a_command_is_given_once_and_its_answer_is_the_result(asking: Asking) -> None:
    now = datetime.now(UTC)
    handle = await asking.start(scheduled_at=now)

    answer = await handle.result()

    [step] = asking.script.inputs("ask")
    assert isinstance(step, AskStep)
    assert (step.schedule, step.request.command) == ("nightly", "promote")
    assert step.scheduled_at is not None
    assert abs(step.scheduled_at - now) < timedelta(seconds=1)
    assert answer["said"] == "Switched to green."
    await asking.record(handle, "given")


async def test_a_refusal_fails_it_with_its_text_and_is_not_tried_again(asking: Asking) -> None:
    asking.script.ask = [REFUSED]
    handle = await asking.start()

    error = await failure(handle)

    assert (error.type, error.message) == ("NOT_AWAITING_PROMOTION", "green does not wait; wait")
    assert error.non_retryable
    assert asking.script.names() == ["ask"]
    await asking.record(handle, "refused")


async def test_an_outage_is_outlasted(asking: Asking) -> None:
    asking.script.failures = {"ask": 2}

    answer = await (await asking.start()).result()

    assert answer["said"] == "Switched to green."
    assert asking.script.names() == ["ask"] * 3


async def test_an_outage_that_lasts_longer_than_the_command_is_meant_fails_it(asking: Asking) -> None:
    asking.script.failures = {"ask": 1_000}
    # A second of the ten minutes is left, and the grace.
    handle = await asking.start(scheduled_at=datetime.now(UTC) - timedelta(minutes=9, seconds=59))

    error = await failure(handle)

    assert error.type == "NO_ANSWER"
    assert "not known" in error.message
    await asking.record(handle, "never-answered")


async def test_ask_refuses_when_its_scheduled_time_lies_more_than_ten_minutes_back(asking: Asking) -> None:
    handle = await asking.start(scheduled_at=datetime.now(UTC) - timedelta(minutes=10, seconds=30))

    error = await failure(handle)

    assert error.type == "TOO_LATE"
    assert "more than 10m ago" in error.message
    assert asking.script.names() == []
    await asking.record(handle, "too-late")


@pytest.mark.parametrize(
    "payload",
    [
        7,
        {},
        {"deployment": "chat"},
        {"deployment": "Chat", "command": "promote"},
        {"deployment": "chat", "command": "promote", "by": "ann"},
        {"deployment": "chat", "command": "promote", "argument": 7},
        {"deployment": "chat", "command": "promote", "argument": {"reason": "x" * 9_000}},
    ],
)
async def test_what_does_not_parse_fails_at_once(asking: Asking, payload: object) -> None:
    error = await failure(await asking.start(payload))

    assert error.type == "INVALID_PAYLOAD"
    assert asking.script.names() == []
