"""What a replay depends on, as fingerprints: the code that it imports and the commands of each recorded history.

``python -m tests.workflows.what_replay_sees`` replays every recorded history and then writes the fingerprints anew.
"""

import ast
import asyncio
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from temporalio.client import WorkflowHistory

from worker.registration import replayer

ROOT: Final = Path(__file__).parent.parent.parent
HISTORIES: Final = ROOT / "tests" / "histories"
FINGERPRINTS: Final = Path(__file__).with_suffix(".json")
WRITE_ANEW: Final = ".venv/bin/python -m tests.workflows.what_replay_sees"
_SEEN: Final = ("workflows", "celadon.domain")
"""The packages whose modules a workflow's code may import; an import contract keeps others out."""
_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "EVENT_TYPE_ACTIVITY_TASK_SCHEDULED": ("activityTaskScheduledEventAttributes", "activityType", "name"),
    "EVENT_TYPE_TIMER_STARTED": ("timerStartedEventAttributes", "startToFireTimeout"),
    "EVENT_TYPE_TIMER_CANCELED": (),
    "EVENT_TYPE_MARKER_RECORDED": ("markerRecordedEventAttributes", "details"),
    "EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": (
        "upsertWorkflowSearchAttributesEventAttributes",
        "searchAttributes",
    ),
    "EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED": (),
    "EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED": (),
    "EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW": (),
    "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED": (),
    "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED": (),
    "EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED": (),
}
"""The events that a workflow's commands become, and where each says which command it was."""


class Fingerprints(BaseModel):
    """A fingerprint for each module and for each history."""

    modules: dict[str, str]
    histories: dict[str, str]


def differences(before: Fingerprints, after: Fingerprints) -> list[str]:
    """Return the modules and histories whose fingerprints differ, the new and the missing ones among them."""
    changed = [f"module {name}" for name in _differing(before.modules, after.modules)]
    return changed + [f"history {name}" for name in _differing(before.histories, after.histories)]


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def read_committed() -> Fingerprints:
    """Return the fingerprints as they were committed."""
    return Fingerprints.model_validate_json(FINGERPRINTS.read_text())


def compute() -> Fingerprints:
    """Return the fingerprints of the code and of the histories as they are now."""
    return Fingerprints(
        modules={name: fingerprint_code(path.read_text()) for name, path in sorted(seen_modules().items())},
        histories={path.stem: _fingerprint_history(json.loads(path.read_text())) for path in recorded()},
    )


def recorded() -> list[Path]:
    """Return the files of the recorded histories."""
    return sorted(HISTORIES.glob("*.json"))


def seen_modules() -> dict[str, Path]:
    """Return the files of all modules that the workflows import, directly or through others, by module name."""
    found: dict[str, Path] = {}
    to_read = [f"workflows.{path.stem}" for path in (ROOT / "workflows").glob("[!_]*.py")]
    while to_read:
        name = to_read.pop()
        path = _file_of(name)
        if name not in found and path is not None:
            found[name] = path
            to_read += _imported(ast.parse(path.read_text()))
    return found


def fingerprint_code(source: str) -> str:
    """Return a fingerprint of a module that comments, docstrings and the layout of the text leave as it is."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_docstring(one)]  # type: ignore[attr-defined]
    return _fingerprint(ast.dump(tree))


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.startswith(_SEEN))


def _file_of(module: str) -> Path | None:
    path = ROOT / Path(*module.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _fingerprint_history(content: Mapping[str, Any]) -> str:
    commands = [
        (event["eventType"], _value_at(event, _COMMANDS[event["eventType"]]))
        for event in content["events"]
        if event["eventType"] in _COMMANDS
    ]
    return _fingerprint(json.dumps(commands, sort_keys=True))


def _value_at(event: Mapping[str, Any], keys: tuple[str, ...]) -> object:
    value: Any = event if keys else None
    for key in keys:
        value = value[key]
    return value


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


async def replay_failures() -> dict[str, str]:
    """Replay every recorded history; return the error of each that does not replay."""
    failures: dict[str, str] = {}
    for path in recorded():
        content = json.loads(path.read_text())
        workflow_id = content["events"][0]["workflowExecutionStartedEventAttributes"]["workflowId"]
        history = WorkflowHistory.from_json(workflow_id, content)
        result = await replayer().replay_workflow(history, raise_on_replay_failure=False)
        if result.replay_failure is not None:
            failures[path.stem] = str(result.replay_failure)
    return failures


def main() -> None:
    """Write the fingerprints anew when every recorded history replays; else say which does not, and exit with 1."""
    failures = asyncio.run(replay_failures())
    if failures:
        sys.exit("\n".join(f"{name} does not replay: {error}" for name, error in failures.items()))
    FINGERPRINTS.write_text(compute().model_dump_json(indent=2) + "\n")


if __name__ == "__main__":
    main()
