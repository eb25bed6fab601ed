"""Messages through JSON, between versions of Celadon."""

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from celadon.domain.language.commands import (
    AbortAnswer,
    AbortCommand,
    AbortState,
    PromoteAnswer,
    PromoteCommand,
    PromoteState,
)
from celadon.domain.language.declared_text import RECORDED
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError, refuse
from celadon.domain.language.messages import (
    BlueChanged,
    GateChanged,
    KeeperBack,
    RefusedMessage,
    RolloutRequest,
    RolloutResult,
    RolloutStatus,
    RoutersAcknowledged,
    Timer,
)
from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteSetId
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.language.revision import Revision
from celadon.domain.language.shown_text import find_control
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase
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
    AbortAnswer(state=AbortState.RECORDED, why="blue cannot take the traffic for the moment"),
    BlueChanged(rollout=RolloutId(7), route_set=RouteSetId(11), seq=9, ready=3, required=3, wanted=3),
    KeeperBack(rollout=RolloutId(7), ready=3, required=3),
    GateChanged(rollout=RolloutId(7), what="the freeze has ended"),
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
        refused=(RefusedMessage(at=NOW, message="promote", door=Channel.SIGNAL, by="ann", refusal=REFUSAL),),
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


HOSTILE_TEXTS = [
    "ann\x1b[31m",
    "ann\x07",
    "ann\rbob",
    "ann\x9b2J",
    "ann\u202enib",
    "ann\u2066",
    "ann\u2028bob",
    "ann\u200b",
]


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, "ann\nbob", "ann\tbob", "ann\u200d"], ids=ascii)
@pytest.mark.parametrize("model", [PromoteCommand, AbortCommand])
def test_a_name_that_cannot_be_shown_in_a_line_is_refused(model: type[BaseModel], text: str) -> None:
    with pytest.raises(RefusedError, match="by: a name has no control or invisible characters") as refused:
        parse_payload(model, {"by": text})

    assert refused.value.refusal.code is RefusalCode.INVALID_PAYLOAD
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=ascii)
@pytest.mark.parametrize("key", ["reason", "requested_by"])
def test_a_start_with_characters_that_are_obeyed_is_refused(key: str, text: str) -> None:
    with pytest.raises(RefusedError, match=f"{key}: a .* has no control or invisible characters"):
        parse_payload(RolloutRequest, {"deployment": "chat", "revision": 2, key: text})


def test_a_reason_may_have_lines_tabs_and_joined_emoji() -> None:
    command = parse_payload(PromoteCommand, {"reason": "one\r\ntwo\n\tthree 👩\u200d💻"})

    assert command.reason == "one\ntwo\n\tthree 👩\u200d💻"


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=ascii)
def test_what_was_taken_before_it_was_refused_is_read_with_numbers(text: str) -> None:
    command = parse_payload(PromoteCommand, {"by": text, "reason": f"one\n{text}"}, recorded=RECORDED)

    assert not find_control(command.by)
    assert not find_control(command.reason, prose=True)
    assert command.by.startswith("ann\\")
    assert command.reason.startswith("one\nann\\")


def test_what_was_taken_before_is_still_refused_for_other_reasons() -> None:
    with pytest.raises(RefusedError, match="revision"):
        parse_payload(PromoteCommand, {"by": "ann\x1b", "revision": "two"}, recorded=RECORDED)


def test_an_answer_to_an_abort_from_before_aborts_could_be_pending_is_decided() -> None:
    answer = AbortAnswer.model_validate({"outcome": "rolled_back", "epoch": 5})

    assert (answer.state, answer.why) == (AbortState.DECIDED, "")
