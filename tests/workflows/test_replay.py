"""Recorded histories replay with the present code; whoever changes a workflow's commands learns it here.

Record them anew, after a change that is patched or that no running rollout can meet, with
``pytest tests/workflows --record-histories``.
"""

import asyncio
import json
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory

from worker.registration import WORKFLOWS, replayer

HISTORIES = sorted((Path(__file__).parent.parent / "histories").glob("*.json"))

CASES = {
    "promoted-by-timer",
    "promoted-by-signal",
    "promoted-by-update",
    "aborted",
    "aborted-before-aborts-were-judged",
    "cancelled-during-the-switch",
    "green-could-not-start",
    "rolled-back",
    "green-regressed",
    "first-deployment",
    "expired",
}


def _workflow_name(path: Path) -> str:
    return path.stem.split("-", 1)[0]


def test_every_registered_workflow_has_a_history() -> None:
    registered = {workflow._Definition.must_from_class(kind).name for kind in WORKFLOWS}  # noqa: SLF001 - no public way

    assert {_workflow_name(path) for path in HISTORIES} == registered


def test_every_way_a_rollout_can_go_has_a_history() -> None:
    assert {path.stem.split("-", 1)[1] for path in HISTORIES} >= CASES


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    content = json.loads(await asyncio.to_thread(path.read_text))
    recorded_as = content["events"][0]["workflowExecutionStartedEventAttributes"]["workflowId"]
    history = WorkflowHistory.from_json(recorded_as, content)

    result = await replayer().replay_workflow(history, raise_on_replay_failure=False)

    assert result.replay_failure is None
