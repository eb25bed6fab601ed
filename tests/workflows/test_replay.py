"""Recorded histories replay with the present code; whoever changes a workflow's commands learns it here.

Record them anew, after a change that is patched or that no running rollout can meet, with
``pytest tests/workflows --record-histories``.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory

from worker.registration import WORKFLOWS, replayer

HISTORIES = sorted((Path(__file__).parent.parent / "histories").glob("*.json"))

CASES = {
    "aborted",
    "aborted-before-aborts-were-judged",
    "approval-withdrawn",
    "bake-ended-for-a-newer-one",
    "cancelled-during-the-switch",
    "expired",
    "expired-while-held",
    "finished",
    "first-deployment",
    "frozen-while-growing",
    "given",
    "green-could-not-start",
    "green-failed-while-growing",
    "green-regressed",
    "green-scaled",
    "grown-and-promoted",
    "growth-failed",
    "growth-waited-for-room",
    "held-at-the-deadline",
    "held-frozen",
    "held-keeper-silent",
    "never-answered",
    "paused-and-resumed",
    "paused-without-room",
    "promoted-at-a-moment",
    "promoted-at-the-deadline",
    "promoted-at-the-end-of-a-freeze",
    "promoted-by-signal",
    "promoted-by-timer",
    "promoted-by-two-approvals",
    "promoted-by-update",
    "promoted-in-a-window",
    "refused",
    "regressed-while-approved",
    "rescheduled",
    "rolled-back",
    "rolled-back-inside-the-window",
    "rolled-back-when-blue-had-recovered",
    "superseded",
    "too-late",
    "waited-for-its-turn",
    "waited-for-room",
}
"""One for each way that a rollout can go; a history that is missing, and one that is not named here, is a mistake."""


def _workflow_name(path: Path) -> str:
    return path.stem.split("-", 1)[0]


def test_every_registered_workflow_has_a_history() -> None:
    registered = {workflow._Definition.must_from_class(kind).name for kind in WORKFLOWS}  # noqa: SLF001 - no public way

    assert {_workflow_name(path) for path in HISTORIES} == registered


def test_every_way_a_rollout_can_go_has_a_history() -> None:
    assert {path.stem.split("-", 1)[1] for path in HISTORIES} == CASES


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    content = json.loads(await asyncio.to_thread(path.read_text))
    recorded_as = content["events"][0]["workflowExecutionStartedEventAttributes"]["workflowId"]
    history = WorkflowHistory.from_json(recorded_as, content)

    result = await replayer().replay_workflow(history, raise_on_replay_failure=False)

    assert result.replay_failure is None


HOSTILE = {"by": "ann\x1b[31m", "reason": "\u202ereviewed"}


def _messages(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what an event of a history brought from a person: an object whose payloads may be written anew."""
    if started := event.get("workflowExecutionStartedEventAttributes"):
        yield started["input"]
    elif (signal := event.get("workflowExecutionSignaledEventAttributes")) and signal["signalName"] == "promote":
        yield signal.setdefault("input", {"payloads": []})
    elif accepted := event.get("workflowExecutionUpdateAcceptedEventAttributes"):
        yield accepted["acceptedRequest"]["input"]["args"]


def _taken_with_controls(content: dict[str, Any]) -> int:
    """Let a history tell of a start and a promotion whose words an earlier version took; return of how many."""
    changed = 0
    for event in content["events"]:
        for message in _messages(event):
            given = [json.loads(base64.b64decode(one["data"])) for one in message.get("payloads", [])]
            words = given[0] if given else {}
            hostile = {"requested_by": HOSTILE["by"]} if "deployment" in words else HOSTILE
            data = json.dumps(words | hostile).encode()
            encoding = base64.b64encode(b"json/plain").decode()
            message["payloads"] = [{"metadata": {"encoding": encoding}, "data": base64.b64encode(data).decode()}]
            changed += 1
    return changed


@pytest.mark.parametrize("case", ["promoted-by-signal", "promoted-by-update"])
async def test_a_rollout_that_took_control_characters_before_they_were_refused_replays(case: str) -> None:
    path = next(path for path in HISTORIES if path.stem.endswith(case))
    content = json.loads(await asyncio.to_thread(path.read_text))
    changed = _taken_with_controls(content)
    recorded_as = content["events"][0]["workflowExecutionStartedEventAttributes"]["workflowId"]

    result = await replayer().replay_workflow(
        WorkflowHistory.from_json(recorded_as, content), raise_on_replay_failure=False
    )

    assert changed == 2
    assert result.replay_failure is None
