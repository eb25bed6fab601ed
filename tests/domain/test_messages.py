"""Messages through JSON, between versions of Celadon."""

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from celadon.domain.errors import Refusal, RefusalCode, RefusedError, refuse
from celadon.domain.messages import (
    AbortAnswer,
    AbortCommand,
    PromoteAnswer,
    PromoteCommand,
    PromoteState,
    RefusedMessage,
    RolloutRequest,
    RolloutResult,
    RolloutStatus,
    RoutersAcknowledged,
    Timer,
)
from celadon.domain.names import Epoch, RevisionNumber, RolloutId
from celadon.domain.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.revision import Revision
from celadon.domain.states import Door, RolloutOutcome, RolloutPhase
from tests.domain.rollouts import NOW, green

REFUSAL = Refusal(code=RefusalCode.WRONG_REVISION, message="the promotion means revision 1", next_step="look at it")
STRICT: list[BaseModel] = [
    RolloutRequest(
        deployment="chat",
        replicas=3,
        revision=Revision(command=("serve", "--port", "{port}"), env={"MODEL": "m"}),
        policy=BlueGreenPolicy(auto_promote=True, promote_after=timedelta(minutes=5)),
        requested_by="ann",
    ),
    RolloutRequest(deployment="chat", revision=2),
    PromoteCommand(revision=2, rollout=7, by="ann", reason="reviewed", force=True),
    AbortCommand(rollout=7, by="bob"),
    resolve_policy(),
]
RECORDS: list[BaseModel] = [
    green(last_error="boom"),
    RoutersAcknowledged(epoch=Epoch(4)),
    PromoteAnswer(
        state=PromoteState.SWITCHED, epoch=Epoch(4), acknowledged_by=("edge-1",), silent=("edge-2",), ms=12.5
    ),
    AbortAnswer(outcome=RolloutOutcome.ROLLED_BACK, epoch=Epoch(5)),
    RolloutResult(
        rollout=RolloutId(7),
        outcome=RolloutOutcome.PROMOTED,
        from_revision=None,
        to_revision=RevisionNumber(1),
        epoch=Epoch(4),
        started_at=NOW,
        switched_at=NOW,
        completed_at=NOW,
        requests_cut=0,
        reason="",
        evidence={"decision": "promotion by ann"},
    ),
    RolloutStatus(
        deployment="chat",
        rollout=RolloutId(7),
        phase=RolloutPhase.AWAITING_PROMOTION,
        since=NOW,
        from_revision=RevisionNumber(1),
        to_revision=RevisionNumber(2),
        policy=BlueGreenPolicy(bake=timedelta(seconds=1)),
        timers=(Timer(name="automatic promotion", fires_at=NOW, remaining=timedelta(seconds=90)),),
        decision="",
        holding="",
        approvals=0,
        approvals_needed=1,
        abort_requested="",
        green=green(),
        epoch=None,
        silent_routers=(),
        refused=(RefusedMessage(at=NOW, message="promote", door=Door.SIGNAL, by="ann", refusal=REFUSAL),),
        refused_total=1,
        outcome=None,
        next_step="promote",
    ),
]


def named(message: BaseModel) -> str:
    return type(message).__name__


@pytest.mark.parametrize("message", [*STRICT, *RECORDS], ids=named)
def test_json_carries_a_message_unchanged(message: BaseModel) -> None:
    assert type(message).model_validate_json(message.model_dump_json()) == message


@pytest.mark.parametrize("message", STRICT, ids=named)
def test_a_key_that_this_version_does_not_know_is_refused_from_people(message: BaseModel) -> None:
    content: dict[str, Any] = json.loads(message.model_dump_json())

    with pytest.raises(ValidationError, match="Extra inputs"):
        type(message).model_validate_json(json.dumps({**content, "colour": "teal"}))


@pytest.mark.parametrize("message", RECORDS, ids=named)
def test_a_key_of_a_newer_version_is_left_alone_between_our_own_parts(message: BaseModel) -> None:
    content: dict[str, Any] = json.loads(message.model_dump_json())

    assert type(message).model_validate_json(json.dumps({**content, "colour": "teal"})) == message


@pytest.mark.parametrize("message", [*STRICT, *RECORDS], ids=named)
def test_a_message_never_changes(message: BaseModel) -> None:
    field = next(iter(type(message).model_fields))

    with pytest.raises(ValidationError, match="frozen"):
        setattr(message, field, None)


@pytest.mark.parametrize("command", [PromoteCommand, AbortCommand])
def test_every_field_of_a_command_is_optional(command: type[BaseModel]) -> None:
    assert not any(field.is_required() for field in command.model_fields.values())


def test_a_refusal_reads_as_one_sentence_with_the_next_step() -> None:
    assert str(REFUSAL) == "the promotion means revision 1; look at it"
    assert str(REFUSAL.model_copy(update={"next_step": ""})) == "the promotion means revision 1"


def test_a_refusals_error_carries_it() -> None:
    error = refuse(RefusalCode.FROZEN, "deployment chat is frozen", "wait")

    assert isinstance(error, RefusedError)
    assert error.refusal == Refusal(code=RefusalCode.FROZEN, message="deployment chat is frozen", next_step="wait")
    assert str(error) == "deployment chat is frozen; wait"


@pytest.mark.parametrize("code", list(RefusalCode))
def test_a_refusals_code_is_its_name(code: RefusalCode) -> None:
    assert code.value == code.name
