"""Who is believed: what a door has signed counts as it was signed, and unsigned messages may do what is set."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.attestation import text_of_command, text_of_start
from celadon.domain.language.commands import AbortCommand, PromoteCommand
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.messages import RolloutRequest, StartMemo
from celadon.domain.language.names import RolloutId
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import Message, Note, Step

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def sign(text: str) -> str:
    return f"signed {text}"[:190] + str(hash(text))[:9]


def verifies(text: str, signature: str) -> bool:
    return signature == sign(text)


def authority(unsigned: Unsigned = Unsigned.DECISIONS, installation: str = "celadon") -> Authority:
    return Authority(unsigned=unsigned, installation=installation, verifies=verifies)


def signed(**changes: Any) -> PromoteCommand:
    command = PromoteCommand(
        rollout=7,
        revision=2,
        by="ann",
        reason="good",
        door=Channel.API,
        issuer="https://issuer.example",
        rights=(Verb.PROMOTE,),
        valid_until=LATER,
    ).model_copy(update=changes)
    signature = sign(text_of_command("celadon", "chat", "promote", "id-1", command))
    return command.model_copy(update={"signature": signature})


def message(command: PromoteCommand | AbortCommand, **changes: Any) -> Message:
    came = Message(verb="promote", request_id="id-1", came_by=Channel.UPDATE, command=command)
    return came.model_copy(update=changes)


def code_of(judged: Authority, what: Message, now: datetime = NOW) -> RefusalCode | None:
    try:
        judged.of_message("chat", what, now)
    except RefusedError as error:
        return error.refusal.code
    return None


def test_a_signed_command_is_believed_after_its_way_through_workflow_and_activity() -> None:
    in_workflow = parse_payload(PromoteCommand, signed().model_dump(mode="json", exclude_unset=True))
    in_activity = Message.model_validate_json(message(in_workflow).model_dump_json())

    verdict = authority(Unsigned.NONE).of_message("chat", in_activity, NOW)

    assert (verdict.verified, verdict.door, verdict.issuer) == (True, Channel.API, "https://issuer.example")
    assert verdict.rights == {Verb.PROMOTE}


@pytest.mark.parametrize(
    ("deployment", "came", "changes"),
    [
        ("search", {}, {}),
        ("chat", {"verb": "abort"}, {}),
        ("chat", {"request_id": "id-2"}, {}),
        ("chat", {"request_id": ""}, {}),
        ("chat", {}, {"by": "eve"}),
        ("chat", {}, {"rollout": 8}),
        ("chat", {}, {"issuer": "https://other.example"}),
        ("chat", {}, {"rights": (Verb.PROMOTE, Verb.FORCE)}),
        ("chat", {}, {"valid_until": NOW + timedelta(days=1)}),
        ("chat", {}, {"signature": ""}),
    ],
)
def test_a_copy_that_says_anything_else_counts_as_unsigned(
    deployment: str,
    came: dict[str, Any],
    changes: dict[str, Any],
) -> None:
    copied = message(signed().model_copy(update=changes), **came)

    with pytest.raises(RefusedError) as refused:
        authority(Unsigned.NONE).of_message(deployment, copied, NOW)
    verdict = authority(Unsigned.DECISIONS).of_message(deployment, copied, NOW)

    assert refused.value.refusal.code is RefusalCode.UNSIGNED
    assert (verdict.verified, verdict.door, verdict.issuer) == (False, Channel.UPDATE, "")


def test_what_is_signed_for_one_installation_counts_in_no_other() -> None:
    assert code_of(authority(Unsigned.NONE, "other"), message(signed())) is RefusalCode.UNSIGNED


def test_a_signed_command_counts_until_the_moment_that_it_names() -> None:
    assert code_of(authority(), message(signed()), LATER) is None
    assert code_of(authority(), message(signed()), LATER + timedelta(microseconds=1)) is RefusalCode.TOO_LATE


def test_a_signed_command_that_names_no_moment_is_refused() -> None:
    assert code_of(authority(), message(signed(valid_until=None))) is RefusalCode.TOO_LATE


def test_a_signed_promotion_with_force_takes_the_right_to_force() -> None:
    forced = {"force": True, "reason": "now"}
    assert code_of(authority(), message(signed(**forced))) is RefusalCode.FORBIDDEN
    assert code_of(authority(), message(signed(**forced, rights=(Verb.PROMOTE, Verb.FORCE)))) is None


@pytest.mark.parametrize(
    ("unsigned", "verb", "force", "code"),
    [
        (Unsigned.NONE, "promote", False, RefusalCode.UNSIGNED),
        (Unsigned.NONE, "abort", False, RefusalCode.UNSIGNED),
        (Unsigned.NONE, "rollback", False, RefusalCode.UNSIGNED),
        (Unsigned.DECISIONS, "promote", False, None),
        (Unsigned.DECISIONS, "abort", False, None),
        (Unsigned.DECISIONS, "rollback", False, None),
        (Unsigned.DECISIONS, "promote", True, RefusalCode.UNSIGNED),
        (Unsigned.ALL, "promote", True, None),
    ],
)
def test_an_unsigned_command_may_do_what_is_set(
    unsigned: Unsigned,
    verb: str,
    force: bool,  # noqa: FBT001
    code: RefusalCode | None,
) -> None:
    command = PromoteCommand(by="ann", force=force) if verb == "promote" else AbortCommand(by="ann")
    assert code_of(authority(unsigned), message(command, verb=verb, request_id="")) is code


def test_a_refusal_of_an_unsigned_command_says_which_one_signs() -> None:
    with pytest.raises(RefusedError, match="celadon promote chat"):
        authority(Unsigned.NONE).of_message("chat", message(PromoteCommand()), NOW)


def start(**changes: Any) -> tuple[RolloutRequest, StartMemo]:
    request = parse_payload(
        RolloutRequest,
        {"deployment": "chat", "revision": 1, "requested_by": "ann", "policy": {"auto_promote": False}},
    )
    memo = StartMemo(
        request_id="id-1",
        door=Channel.API,
        rights=(Verb.START,),
        valid_until=LATER,
    ).model_copy(update=changes)
    return request, memo.model_copy(update={"signature": sign(text_of_start("celadon", request, memo))})


def test_a_signed_start_carries_the_rights_of_its_sender() -> None:
    request, memo = start()
    travelled = RolloutRequest.model_validate_json(request.model_dump_json())
    verdict = authority(Unsigned.NONE).of_start(travelled, memo, NOW)
    assert (verdict.verified, verdict.door, verdict.rights) == (True, Channel.API, frozenset({Verb.START}))


def test_a_start_that_temporal_took_after_its_time_is_refused() -> None:
    request, memo = start()
    with pytest.raises(RefusedError, match="was valid until"):
        authority().of_start(request, memo, LATER + timedelta(seconds=1))


@pytest.mark.parametrize("changes", [{"valid_until": None}, {"request_id": ""}])
def test_a_signed_start_without_end_or_id_is_refused(changes: dict[str, Any]) -> None:
    request, memo = start(**changes)
    with pytest.raises(RefusedError, match="does not say until when"):
        authority().of_start(request, memo, NOW)


@pytest.mark.parametrize(
    "changes",
    [{"revision": 2}, {"requested_by": "eve"}, {"policy": {}}, {"policy": {"auto_promote": True}}],
)
def test_a_signature_of_another_start_vouches_for_nobody(changes: dict[str, Any]) -> None:
    request, memo = start()
    other = parse_payload(RolloutRequest, {**request.model_dump(mode="json", exclude_unset=True), **changes})
    assert not authority().of_start(other, memo, NOW).verified
    assert not authority().of_start(other, memo, NOW).rights - {
        Verb.START,
        Verb.PROMOTE,
        Verb.ABORT,
        Verb.ROLLBACK,
        Verb.PAUSE,
    }


def attested(note: Note) -> Note:
    return authority().attested(Step(deployment="chat", rollout=RolloutId(7), notes=(note,))).notes[0]


def test_a_line_of_the_audit_log_is_verified_by_the_message_that_it_tells_of() -> None:
    note = Note(seq=1, at=NOW, kind="promotion_requested", by="ann", door=Channel.API, message=message(signed()))
    assert attested(note).verified
    assert attested(note).issuer == "https://issuer.example"


@pytest.mark.parametrize("changes", [{"by": "eve"}, {"kind": "aborted"}, {"message": None}])
def test_a_line_that_tells_of_something_else_is_declared(changes: dict[str, Any]) -> None:
    note = Note(seq=1, at=NOW, kind="promotion_requested", by="ann", door=Channel.API, message=message(signed()))
    claimed = note.model_copy(update={"verified": True, "issuer": "https://issuer.example", **changes})
    found = attested(claimed)
    assert (found.verified, found.issuer) == (False, "")
    assert found.door is not Channel.API
