"""The whole state of a rollout as one value, which travels along when its workflow continues as new.

A stored state may be read by the release before and by the one after: fields are added with defaults and never change
their meaning; ``state_version`` rises when an older release could not go on from it.
"""

from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from celadon.domain.language.base_models import Record
from celadon.domain.language.bounded_list import BoundedList
from celadon.domain.language.commands import AbortAnswer, JudgedAnswer, PromoteAnswer
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.limits import ECHO_BYTES, clip
from celadon.domain.language.messages import RefusedMessage
from celadon.domain.language.names import Epoch
from celadon.domain.language.progress import Progress
from celadon.domain.language.steps import Note

AnswerT = TypeVar("AnswerT", PromoteAnswer, AbortAnswer)

STATE_VERSION: Final = 1

KEPT_REFUSALS: Final = 100
KEPT_REFUSAL_BYTES: Final = 24 * 1024
KEPT_NOTES: Final = 100
"""Notes of messages; the story's own are few and always kept."""
KEPT_NOTE_BYTES: Final = 40 * 1024
KEPT_ANSWERS: Final = 200
KEPT_ANSWER_BYTES: Final = 24 * 1024
_SHOWN_ROUTERS: Final = 20
_WHOLE_ANSWERS: Final = 10
"""So many of the newest answers are never shortened."""
_DIGEST_CHARACTERS: Final = 20
_REFUSED: Final = frozenset({"message_refused", "promotion_refused", "rollback_refused"})


_NOT_KEPT: Final = Refusal(
    code=RefusalCode.REQUEST_SPENT,
    message="this update was answered before, so long ago that its answer is not kept any more",
    next_step="look at what became of it with 'celadon rollout history'",
)


class Stage(StrEnum):
    """Where the story of a rollout goes on after it continued as new."""

    GATE = "gate"
    """Green is open, and nothing has been switched."""
    BAKING = "baking"
    """Green is live and blue warm."""
    DRAINING_BLUE = "draining_blue"
    """The bake is over; blue drains as soon as the routers serve green."""
    DRAINING_GREEN = "draining_green"
    """Blue is live again; green drains as soon as the routers serve blue."""


class AnsweredUpdate(Record):
    """An update of an earlier run and what its caller was answered: a repeat gets the same answer."""

    id: str
    promoted: PromoteAnswer | None = None
    aborted: AbortAnswer | None = None
    baked: JudgedAnswer | None = None
    refusal: Refusal | None = None

    @classmethod
    def of(cls, update_id: str, answer: PromoteAnswer | AbortAnswer | JudgedAnswer | Refusal) -> Self:
        """Return an update with its answer, which stands in the field of its kind."""
        match answer:
            case PromoteAnswer():
                return cls(id=update_id, promoted=answer)
            case AbortAnswer():
                return cls(id=update_id, aborted=answer)
            case JudgedAnswer():
                return cls(id=update_id, baked=answer)
            case Refusal():
                return cls(id=update_id, refusal=answer)


class RolloutState(BaseModel):
    """All that a rollout knows; only who waits for an answer at this moment stands elsewhere."""

    model_config = ConfigDict(extra="ignore")

    state_version: int = STATE_VERSION
    progress: Progress
    stage: Stage = Stage.GATE
    awaits_routers: bool = False
    """Whether it waits for live routers before it drains."""
    started_at: datetime
    switched_at: datetime | None = None
    epoch: Epoch | None = None
    """Of the switch, or of the switch back."""
    silent: tuple[str, ...] = ()
    """Live routers that have not acknowledged ``epoch``, as far as they are shown."""
    routers_served: Epoch | None = None
    """The largest epoch of which the keeper told that all live routers serve it."""
    decision: str = ""
    """What was decided last, and by whom."""
    decisions: int = 0
    """How many decisions this run has asked the table for."""
    back_reason: str = ""
    cancelled: bool = False
    """Whether the workflow was cancelled in Temporal; its last run ends as cancelled then."""
    successor_changed: bool = False
    """Whether what waits behind the rollout may be another than it knows."""
    refused: BoundedList[RefusedMessage] = BoundedList[RefusedMessage]()
    refused_total: int = 0
    """Messages that changed nothing, the unread ones among them."""
    unread_total: int = 0
    """Messages that were counted and not read, because too many came at once."""
    unread_told: int = 0
    """How many of those the audit log has been told of."""
    notes: BoundedList[Note] = BoundedList[Note]()
    notes_written: int = 0
    notes_left_out: int = 0
    """Lines of the audit log that found no room since the last one that did."""
    answered: BoundedList[AnsweredUpdate] = BoundedList[AnsweredUpdate]()
    """The last updates of this run and the runs before, as far as there is room for their answers."""
    answered_before: tuple[str, ...] = ()
    """Digests of the ids of those before them."""

    def keep_refusal(self, refused: RefusedMessage) -> None:
        """Keep a message that changed nothing; the oldest go."""
        self.refused_total += 1
        self.refused = self.refused.with_newest(refused, count=KEPT_REFUSALS, size=KEPT_REFUSAL_BYTES)

    def keep_note(self, note: Note, *, of_message: bool) -> None:
        """Keep a line for the audit log; one of a message is only counted when there is no room."""
        if not of_message:
            self.notes = self.notes.with_all(note)
            return
        # What was refused leaves room for what is carried out.
        tenths = 8 if note.kind in _REFUSED else 10
        fitting = self.notes.with_fitting(note, count=KEPT_NOTES * tenths // 10, size=KEPT_NOTE_BYTES * tenths // 10)
        if fitting is None:
            self.notes_left_out += 1
        else:
            self.notes = fitting

    def keep_answer(self, answered: AnsweredUpdate) -> None:
        """Keep what an update was answered: the oldest answers get short, then only their ids are known."""
        kept = self.answered.with_all(_shortened(answered, _SHOWN_ROUTERS))
        kept = kept.with_oldest(_as_short_as_possible, size=KEPT_ANSWER_BYTES, newest=_WHOLE_ANSWERS)
        self.answered = kept.without_oldest(count=KEPT_ANSWERS, size=KEPT_ANSWER_BYTES)
        gone = kept.items[: len(kept.items) - len(self.answered.items)]
        before = (*self.answered_before, *(_digest(one.id) for one in gone))
        self.answered_before = before[max(0, len(before) + len(self.answered.items) - KEPT_ANSWERS) :]

    def answer_to(self, update_id: str) -> AnsweredUpdate | None:
        """Return what an update was answered before; nothing when it is new, or long ago."""
        known = next((one for one in reversed(self.answered.items) if one.id == update_id), None)
        if known is None and _digest(update_id) in self.answered_before:
            return AnsweredUpdate(id=update_id, refusal=_NOT_KEPT)
        return known


def shown_routers(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return as many names of routers as a state holds."""
    return names[:_SHOWN_ROUTERS]


def _shortened(answered: AnsweredUpdate, routers: int) -> AnsweredUpdate:
    """Return an answer with so many names of routers in each list."""
    promoted, aborted = answered.promoted, answered.aborted
    return answered.model_copy(
        update={
            "promoted": None if promoted is None else _with_fewer_routers(promoted, routers),
            "aborted": None if aborted is None else _with_fewer_routers(aborted, routers),
        },
    )


def _with_fewer_routers(answer: AnswerT, most: int) -> AnswerT:
    shown = {"acknowledged_by": answer.acknowledged_by[:most], "silent": answer.silent[:most]}
    return answer.model_copy(update=shown)


def _as_short_as_possible(answered: AnsweredUpdate) -> AnsweredUpdate:
    shortened, refusal = _shortened(answered, 0), answered.refusal
    if refusal is None:
        return shortened
    short = Refusal(code=refusal.code, message=clip(refusal.message, ECHO_BYTES))
    return shortened.model_copy(update={"refusal": short})


def _digest(update_id: str) -> str:
    return sha256(update_id.encode("utf-8", "replace")).hexdigest()[:_DIGEST_CHARACTERS]
