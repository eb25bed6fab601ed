"""How an identity that a door has verified reaches the audit log.

Anybody whom Temporal lets in can write any name into a signal. A door that has verified who asks therefore signs what
it sends. The workflow cannot check that, since it holds no keys: it hands the claim on, and the activity that writes
the audit line checks it. What fails the check is shown as declared, never as verified.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeVar

from pydantic import AwareDatetime

from celadon.domain.messages import Command, RolloutRequest
from celadon.domain.states import Door
from celadon.domain.steps import BeginStep, Claim, Step, SwitchStep
from celadon.domain.strictness import Record

START: Final = "start"
"""The verb of a rollout's start; the others are the names of messages."""

START_MEMO: Final = "celadon_start"
"""The memo of a workflow that a door has signed."""

FRESH: Final = timedelta(minutes=10)
"""A signed start that Temporal took at another time was copied."""

VERIFYING_DOORS: Final = frozenset({Door.API, Door.CONSOLE})
"""Doors that verify who asks; a message that names one of them must be signed."""

StepT = TypeVar("StepT", bound=Record)


class StartMemo(Record):
    """What a door says of a start, beside the request itself."""

    request_id: str = ""
    """A repeat with the same id finds the rollout that the first one started."""
    door: Door | None = None
    signed_at: AwareDatetime | None = None
    signature: str = ""


def text_of_command(deployment: str, verb: str, request_id: str, command: Command) -> str:
    """Return what is signed of a command: itself, whose rollout it is for, and the update's id, so that no copy counts.

    A door that signs names the rollout in the command and says until when it is valid.
    """
    content = command.model_dump(mode="json", exclude_unset=True, exclude={"signature"})
    return _canonical({"deployment": deployment, "verb": verb, "request_id": request_id, "command": content})


def text_of_start(request: RolloutRequest, memo: StartMemo) -> str:
    """Return what is signed of a start."""
    return _canonical(
        {
            "deployment": request.deployment,
            "verb": START,
            "memo": memo.model_dump(mode="json", exclude={"signature"}),
            "request": request.model_dump(mode="json", exclude_unset=True),
        },
    )


def claim_of_command(deployment: str, verb: str, request_id: str, command: Command, came_by: Door) -> Claim | None:
    """Return what an activity has to check of a command; nothing when its sender claims nothing."""
    if not command.signature and command.door is None:
        return None
    return Claim(
        text=text_of_command(deployment, verb, request_id, command),
        signature=command.signature,
        came_by=came_by,
    )


def claim_of_start(request: RolloutRequest, memo: StartMemo | None, taken_at: datetime) -> Claim | None:
    """Return what an activity has to check of a start; ``taken_at`` is when Temporal took it."""
    if memo is None or not memo.signature or memo.signed_at is None:
        return None
    if abs(taken_at - memo.signed_at) > FRESH:
        return None
    return Claim(text=text_of_start(request, memo), signature=memo.signature, came_by=Door.UPDATE)


def attested(step: StepT, verifies: Callable[[str, str], bool]) -> StepT:
    """Return ``step`` with what a check of its claims has found; what it says of that itself is not believed.

    Args:
        step: what the workflow asks for.
        verifies: whether a signature belongs to a text.

    """
    changes: dict[str, object] = {}
    if isinstance(step, Step):
        changes["notes"] = tuple(note.model_copy(update=_judge(note.claim, note.door, verifies)) for note in step.notes)
    if isinstance(step, BeginStep | SwitchStep):
        changes |= _judge(step.claim, step.door, verifies)
    return step.model_copy(update=changes)


def _judge(claim: Claim | None, door: Door | None, verifies: Callable[[str, str], bool]) -> Mapping[str, object]:
    if claim is None:
        return {"verified": False, "door": None if door in VERIFYING_DOORS else door}
    if claim.signature and verifies(claim.text, claim.signature):
        return {"verified": True}
    return {"verified": False, "door": claim.came_by if door in VERIFYING_DOORS else door}


def _canonical(content: Mapping[str, object]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
