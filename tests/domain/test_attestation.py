"""An identity is verified when a door has signed exactly this message, and else only declared."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celadon.domain.attestation import (
    StartMemo,
    attested,
    claim_of_command,
    claim_of_start,
    text_of_command,
    text_of_start,
)
from celadon.domain.messages import PromoteCommand, RolloutRequest
from celadon.domain.names import RolloutId, RouteSetId
from celadon.domain.payload import parse_payload
from celadon.domain.states import Door
from celadon.domain.steps import BeginStep, Claim, Note, Step, SwitchStep

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def sign(text: str) -> str:
    return f"signed {text}"


def verifies(text: str, signature: str) -> bool:
    return signature == sign(text)


def signed(**changes: Any) -> PromoteCommand:
    command = PromoteCommand(rollout=7, revision=2, by="ann", reason="good", door=Door.API, valid_until=NOW)
    command = command.model_copy(update={"signature": sign(text_of_command("chat", "promote", "id-1", command))})
    return command.model_copy(update=changes)


def switch_step(claim: Claim | None, door: Door) -> SwitchStep:
    note = Note(seq=1, at=NOW, kind="promotion_requested", by="ann", door=door, claim=claim)
    return SwitchStep(
        deployment="chat",
        rollout=RolloutId(7),
        notes=(note,),
        blue_set=None,
        green_set=RouteSetId(2),
        by="ann",
        door=door,
        reason="",
        claim=claim,
        ack_timeout_seconds=1,
    )


def test_a_signed_command_is_verified_after_its_way_through_json() -> None:
    travelled = parse_payload(PromoteCommand, signed().model_dump(mode="json", exclude_unset=True))
    step = attested(
        switch_step(claim_of_command("chat", "promote", "id-1", travelled, Door.UPDATE), Door.API), verifies
    )
    assert (step.verified, step.door) == (True, Door.API)
    assert (step.notes[0].verified, step.notes[0].door) == (True, Door.API)


@pytest.mark.parametrize(
    ("deployment", "verb", "request_id", "changes"),
    [
        ("search", "promote", "id-1", {}),
        ("chat", "abort", "id-1", {}),
        ("chat", "promote", "id-2", {}),
        ("chat", "promote", "", {}),
        ("chat", "promote", "id-1", {"by": "eve"}),
        ("chat", "promote", "id-1", {"rollout": 8}),
        ("chat", "promote", "id-1", {"force": True}),
        ("chat", "promote", "id-1", {"valid_until": NOW + timedelta(days=1)}),
        ("chat", "promote", "id-1", {"signature": ""}),
    ],
)
def test_a_copy_that_says_anything_else_is_only_declared(
    deployment: str, verb: str, request_id: str, changes: dict[str, Any]
) -> None:
    claim = claim_of_command(deployment, verb, request_id, signed(**changes), Door.SIGNAL)
    step = attested(switch_step(claim, Door.API), verifies)
    assert (step.verified, step.door) == (False, Door.SIGNAL)
    assert (step.notes[0].verified, step.notes[0].door) == (False, Door.SIGNAL)


def test_nobody_can_say_of_himself_that_he_is_verified() -> None:
    step = switch_step(None, Door.SIGNAL)
    claimed = step.model_copy(
        update={"verified": True, "notes": (step.notes[0].model_copy(update={"verified": True}),)},
    )
    found = attested(claimed, verifies)
    assert (found.verified, found.notes[0].verified) == (False, False)


def test_a_command_that_claims_nothing_needs_no_check() -> None:
    assert claim_of_command("chat", "promote", "id-1", PromoteCommand(by="ann"), Door.UPDATE) is None


def test_a_door_that_verifies_nobody_may_be_declared() -> None:
    claim = claim_of_command("chat", "promote", "id-1", PromoteCommand(by="ann", door=Door.CLI), Door.UPDATE)
    step = attested(switch_step(claim, Door.CLI), verifies)
    assert (step.verified, step.door) == (False, Door.CLI)


def begin_step(claim: Claim | None) -> BeginStep:
    request = RolloutRequest(deployment="chat", revision=1, requested_by="ann")
    return BeginStep(request=request, workflow_id="w", run_id="r", at=NOW, door=Door.API, claim=claim)


def test_a_signed_start_is_verified_while_it_is_fresh() -> None:
    request = RolloutRequest(deployment="chat", revision=1, requested_by="ann")
    memo = StartMemo(request_id="id-1", door=Door.API, signed_at=NOW)
    memo = memo.model_copy(update={"signature": sign(text_of_start(request, memo))})
    fresh = attested(begin_step(claim_of_start(request, memo, NOW + timedelta(seconds=9))), verifies)
    assert fresh.verified
    assert claim_of_start(request, memo, NOW + timedelta(hours=1)) is None
    assert claim_of_start(request, None, NOW) is None
    other = RolloutRequest(deployment="chat", revision=2, requested_by="ann")
    assert not attested(begin_step(claim_of_start(other, memo, NOW)), verifies).verified


def test_every_step_with_notes_is_checked() -> None:
    claim = claim_of_command("chat", "promote", "id-1", signed(), Door.UPDATE)
    note = Note(seq=1, at=NOW, kind="aborted", by="ann", door=Door.API, claim=claim)
    step = Step(deployment="chat", rollout=RolloutId(7), notes=(note,))
    assert attested(step, verifies).notes[0].verified
