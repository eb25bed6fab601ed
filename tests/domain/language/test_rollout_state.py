"""A rollout's state is one bounded value that later and earlier releases read."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from celadon.domain.language.commands import AbortAnswer, JudgedAnswer, PromoteAnswer, PromoteCommand, PromoteState
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.limits import ECHO_BYTES
from celadon.domain.language.messages import RefusedMessage
from celadon.domain.language.names import Epoch
from celadon.domain.language.progress import Progress
from celadon.domain.language.rollout_state import (
    KEPT_ANSWER_BYTES,
    KEPT_ANSWERS,
    KEPT_NOTE_BYTES,
    KEPT_NOTES,
    KEPT_REFUSAL_BYTES,
    KEPT_REFUSALS,
    AnsweredUpdate,
    RolloutState,
)
from celadon.domain.language.states import Channel, RolloutPhase
from celadon.domain.language.steps import Message, Note

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STORED = sorted((Path(__file__).parents[2] / "states").glob("*.json"))


def new_state() -> RolloutState:
    return RolloutState(
        progress=Progress(deployment="chat", phase=RolloutPhase.AWAITING_PROMOTION, since=NOW),
        started_at=NOW,
    )


def note(number: int, reason: str = "") -> Note:
    command = PromoteCommand(by="ann", reason=reason)
    message = Message(verb="promote", came_by=Channel.SIGNAL, command=command)
    return Note(seq=number, run="r", at=NOW, kind="promotion_requested", by="ann", reason=reason, message=message)


def refused(number: int, words: str) -> RefusedMessage:
    refusal = Refusal(code=RefusalCode.INVALID_PAYLOAD, message=f"{number} {words}")
    return RefusedMessage(at=NOW, message="promote", door=Channel.SIGNAL, by="ann", refusal=refusal)


@pytest.mark.parametrize("words", ["short", "x" * 5000])
def test_refusals_are_the_last_ones_and_bounded_by_number_and_by_size(words: str) -> None:
    state = new_state()
    for number in range(3 * KEPT_REFUSALS):
        state.keep_refusal(refused(number, words))

    assert state.refused_total == 3 * KEPT_REFUSALS
    assert 0 < len(state.refused.items) <= KEPT_REFUSALS
    assert state.refused.size <= KEPT_REFUSAL_BYTES
    assert state.refused.items[-1].refusal.message.startswith(f"{3 * KEPT_REFUSALS - 1} ")


@pytest.mark.parametrize("reason", ["", "x" * 2000])
def test_lines_of_messages_that_find_no_room_are_counted(reason: str) -> None:
    state = new_state()
    for number in range(3 * KEPT_NOTES):
        state.keep_note(note(number, reason), of_message=True)

    assert 0 < len(state.notes.items) <= KEPT_NOTES
    assert state.notes.size <= KEPT_NOTE_BYTES
    assert len(state.notes.items) + state.notes_left_out == 3 * KEPT_NOTES


def test_lines_of_refusals_leave_room_for_a_decision() -> None:
    state = new_state()
    for number in range(3 * KEPT_NOTES):
        state.keep_note(note(number, "x" * 2000).model_copy(update={"kind": "message_refused"}), of_message=True)

    state.keep_note(note(1000, "x" * 2000), of_message=True)

    assert state.notes.items[-1].seq == 1000


def test_lines_of_the_story_are_never_left_out() -> None:
    state = new_state()
    for number in range(2 * KEPT_NOTES):
        state.keep_note(note(number), of_message=True)

    state.keep_note(note(1000), of_message=False)

    assert state.notes.items[-1].seq == 1000


def test_lines_go_by_their_number_and_run_alone() -> None:
    state = new_state()
    for number in (1, 2, 3):
        state.keep_note(note(number), of_message=False)
    state.keep_note(note(2).model_copy(update={"run": "other"}), of_message=False)

    left = state.notes.without(frozenset({("r", 1), ("r", 2)}), lambda one: (one.run, one.seq))

    assert [(one.run, one.seq) for one in left.items] == [("r", 3), ("other", 2)]
    assert left.size == sum(len(one.model_dump_json()) for one in left.items)


def test_answers_are_found_by_the_updates_id_and_only_the_last_are_kept() -> None:
    state = new_state()
    routers = tuple(f"router-{number}" * 10 for number in range(500))
    for number in range(2 * KEPT_ANSWERS):
        answer = PromoteAnswer(state=PromoteState.SWITCHED, epoch=Epoch(number), acknowledged_by=routers)
        state.keep_answer(AnsweredUpdate(id=f"id{number}", promoted=answer))

    last = state.answer_to(f"id{2 * KEPT_ANSWERS - 1}")
    assert last is not None
    assert last.promoted is not None
    assert last.promoted.epoch == 2 * KEPT_ANSWERS - 1
    assert state.answer_to("id0") is None
    assert len(state.answered.items) <= KEPT_ANSWERS
    assert state.answered.size <= KEPT_ANSWER_BYTES


def test_what_is_stored_is_read_again() -> None:
    state = new_state()
    state.keep_note(note(1), of_message=False)
    state.keep_refusal(refused(1, "no"))
    state.keep_answer(AnsweredUpdate(id="a", refusal=Refusal(code=RefusalCode.TOO_LATE, message="late")))

    assert RolloutState.model_validate_json(state.model_dump_json()) == state


def test_there_is_a_stored_state_to_read() -> None:
    assert STORED


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_state_that_another_release_stored_is_read(path: Path) -> None:
    stored = json.loads(path.read_text())

    state = RolloutState.model_validate_json(json.dumps(stored))

    assert state.progress.deployment == stored["progress"]["deployment"]
    assert state.stage.value == stored["stage"]


def test_a_field_of_a_later_release_is_left_alone() -> None:
    stored = json.loads(new_state().model_dump_json()) | {"of_the_next_release": {"a": 1}}

    assert RolloutState.model_validate_json(json.dumps(stored)) == new_state()


def answers(number: int) -> PromoteAnswer | AbortAnswer | JudgedAnswer | Refusal:
    """Return an answer as large as it can be."""
    routers = tuple(f"{n:0100}" for n in range(30))
    match number % 4:
        case 0:
            return PromoteAnswer(state=PromoteState.SWITCHED, epoch=Epoch(number), acknowledged_by=routers)
        case 1:
            return AbortAnswer(epoch=Epoch(number), why="w" * 300, silent=routers)
        case 2:
            return JudgedAnswer(phase=RolloutPhase.BAKING)
        case _:
            return Refusal(code=RefusalCode.FROZEN, message=f"{number} " + "é" * 900, next_step="n" * 400)


def test_the_ids_of_the_last_two_hundred_updates_always_travel() -> None:
    state = new_state()
    for number in range(500):
        state.keep_answer(AnsweredUpdate.of(f"{number:0200}", answers(number)))

    travelled = RolloutState.model_validate_json(state.model_dump_json())
    assert [number for number in range(500) if travelled.answer_to(f"{number:0200}") is not None] == [*range(300, 500)]
    assert travelled.answered.size <= KEPT_ANSWER_BYTES
    assert len(json.dumps([travelled.answered_before])) < 6 * 1024
    newest = travelled.answer_to(f"{499:0200}")
    assert newest is not None
    assert newest.refusal == answers(499)
    oldest = travelled.answer_to(f"{300:0200}")
    assert oldest is not None
    assert oldest.refusal is not None
    assert oldest.refusal.code is RefusalCode.REQUEST_SPENT


def test_answers_get_short_before_they_go() -> None:
    state = new_state()
    for number in range(30):
        state.keep_answer(AnsweredUpdate.of(f"u{number}", answers(number)))

    assert state.answered_before == ()
    first, refusal = state.answer_to("u0"), state.answer_to("u3")
    assert first is not None
    assert first.promoted is not None
    assert (first.promoted.epoch, first.promoted.acknowledged_by) == (0, ())
    assert refusal is not None
    assert refusal.refusal is not None
    assert refusal.refusal.message.startswith("3 ")
    assert len(refusal.refusal.message.encode()) <= ECHO_BYTES
