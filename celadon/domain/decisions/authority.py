"""Whether what came from outside counts: who vouches for it, what it may do, and until when.

Rights follow what will happen: a start is judged by the policy that it resolves to, a command by what it does. Who is
asked is an activity, inside the transaction that carries the message out; a workflow holds no keys and decides no
rights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

from celadon.domain.language.attestation import START, text_of_command, text_of_start
from celadon.domain.language.base_models import Record
from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.contracts import (
    ABORT,
    DEFAULT_INSTALLATION,
    FINISH,
    PAUSE,
    PROMOTE,
    RESCHEDULE,
    RESUME,
    ROLLBACK,
    WITHDRAW,
)
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.messages import RolloutRequest, StartMemo
from celadon.domain.language.moments import utc
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import Message, Note, Step

StepT = TypeVar("StepT", bound=Step)

VERIFYING_DOORS: Final = frozenset({Channel.API, Channel.CONSOLE, Channel.CLI, Channel.SCHEDULE})
"""Doors that sign what they send; a message that only says that it came through one of them did not."""


class Unsigned(StrEnum):
    """What a start or message that no door has signed may do: ``CELADON_UNSIGNED`` of the worker."""

    NONE = "none"
    """Nothing: everything must be signed."""
    DECISIONS = "decisions"
    """Promote, abort, roll back, pause and resume; start what is registered already: no new command, nothing forced."""
    ALL = "all"
    """Everything that a signed one may do: whoever reaches Temporal runs programs."""


_UNSIGNED_RIGHTS: Final[Mapping[Unsigned, frozenset[Verb]]] = MappingProxyType(
    {
        Unsigned.NONE: frozenset(),
        Unsigned.DECISIONS: frozenset({Verb.START, Verb.PROMOTE, Verb.ABORT, Verb.ROLLBACK, Verb.PAUSE}),
        Unsigned.ALL: frozenset(Verb),
    },
)

_VERBS: Final[Mapping[str, Verb]] = MappingProxyType(
    {
        PROMOTE: Verb.PROMOTE,
        ABORT: Verb.ABORT,
        ROLLBACK: Verb.ROLLBACK,
        FINISH: Verb.PROMOTE,
        WITHDRAW: Verb.ABORT,
        PAUSE: Verb.PAUSE,
        RESUME: Verb.PAUSE,
        RESCHEDULE: Verb.PAUSE,
    },
)
"""The right that each message takes. To finish a bake is to promote for good; whoever may pull the brake may release
it. Other timers take the right to promote too where they let a switch happen, or happen sooner."""


RESCHEDULE_RIGHTS: Final = (Verb.PAUSE, Verb.PROMOTE)
"""What other timers may take, by what they do."""

_SIGNED_ONLY: Final[Mapping[str, str]] = MappingProxyType(
    {
        FINISH: "wait for the end of the bake, or have somebody send it who signs",
        RESCHEDULE: "use 'celadon reschedule {deployment}' or the API, which sign what they send",
    },
)
"""Messages that somebody has to vouch for, unless the installation believes everybody, with what to do instead."""

_NOTE_VERBS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "promotion_requested": (PROMOTE,),
        "promotion_refused": (PROMOTE,),
        "abort_requested": (ABORT,),
        "rollback_requested": (ROLLBACK,),
        "rollback_refused": (ABORT, ROLLBACK),
        "aborted": (ABORT, ROLLBACK),
        "finish_requested": (FINISH,),
        "withdrawal_requested": (WITHDRAW,),
        "pause_requested": (PAUSE,),
        "resume_requested": (RESUME,),
        "reschedule_requested": (RESCHEDULE,),
    },
)
"""Of which messages a line of the audit log may tell: what was signed vouches for nothing else."""

_COMMANDS: Final[Mapping[Verb, str]] = MappingProxyType(
    {
        Verb.START: "celadon deploy -f FILE",
        Verb.CREATE: "celadon deployment create",
        Verb.SCALE: "celadon deployment scale {deployment} N",
        Verb.SET_HOSTS: "celadon deployment hosts {deployment} HOST",
        Verb.SET_TRAFFIC: "celadon deployment traffic {deployment}",
        Verb.PROMOTE: "celadon promote {deployment}",
        Verb.FORCE: "celadon promote {deployment} --force --reason WHY",
        Verb.ABORT: "celadon abort {deployment}",
        Verb.ROLLBACK: "celadon rollback {deployment}",
        Verb.PAUSE: "celadon pause {deployment}",
    },
)


class Verdict(Record):
    """What was found out about a start or message."""

    verified: bool = False
    """Whether a door that is believed has signed it."""
    door: Channel | None = None
    """Through which door it came, as far as that is known."""
    issuer: str = ""
    """Who vouches for its sender to the door; empty for an unsigned one."""
    rights: frozenset[Verb] = frozenset()
    """What it may do."""
    request_id: str = ""
    """The id that is spent with it; empty for an unsigned one, whose id proves nothing."""

    def require(self, verb: Verb, deployment: str, why: str = "") -> None:
        """Refuse what the sender has no right to.

        Args:
            verb: what would happen.
            deployment: to which deployment.
            why: what makes the right necessary, for people.

        Raises:
            RefusedError: with code ``FORBIDDEN`` for a signed message, ``UNSIGNED`` for another.

        """
        if verb in self.rights:
            return
        what = verb.value.replace("_", " ")
        because = f": {why}" if why else ""
        command = _COMMANDS.get(verb, "celadon").format(deployment=deployment)
        if self.verified:
            raise RefusedError(
                Refusal(
                    code=RefusalCode.FORBIDDEN,
                    message=f"the sender has no right to {what} {deployment}{because}",
                    next_step="ask somebody who has it, or leave out what needs it",
                ),
            )
        raise RefusedError(
            Refusal(
                code=RefusalCode.UNSIGNED,
                message=f"nobody vouches for the sender, and an unsigned message may not {what} {deployment}{because}",
                next_step=f"use '{command}' or the API, which sign what they send",
            ),
        )


def _nobody(_text: str, _signature: str) -> bool:
    return False


@dataclass(frozen=True)
class Authority:
    """Whom an installation believes, and what it lets unsigned messages do."""

    unsigned: Unsigned = Unsigned.DECISIONS
    installation: str = DEFAULT_INSTALLATION
    """Part of what is signed: a message to one installation counts in no other."""
    verifies: Callable[[str, str], bool] = field(default=_nobody)
    """Whether one of the believed keys has signed a text: text and signature."""

    def of_start(self, request: RolloutRequest, memo: StartMemo | None, taken_at: datetime | None) -> Verdict:
        """Judge a start.

        Args:
            request: what is to be rolled out.
            memo: what its door says of it.
            taken_at: when Temporal took it.

        Raises:
            RefusedError: it is signed, and Temporal took it after it had ceased to be valid.

        """
        door = None if memo is None else memo.door
        if (
            memo is None
            or not memo.signature
            or not self.verifies(text_of_start(self.installation, request, memo), memo.signature)
        ):
            return self._unsigned(None if door in VERIFYING_DOORS else door)
        _require_valid(memo.valid_until, memo.request_id, taken_at)
        return Verdict(
            verified=True,
            door=door,
            issuer=memo.issuer,
            rights=frozenset(memo.rights),
            request_id=memo.request_id,
        )

    def of_message(self, deployment: str, message: Message, now: datetime) -> Verdict:
        """Judge a command that is about to be carried out; ``now`` is the moment by the database's clock.

        Raises:
            RefusedError: it may not be carried out, or not any more.

        """
        command = message.command
        verdict = self._unsigned(_plain_door(message))
        if self._is_signed(deployment, message):
            _require_valid(command.valid_until, message.request_id, now)
            verdict = Verdict(
                verified=True,
                door=command.door or message.came_by,
                issuer=command.issuer,
                rights=frozenset(command.rights),
                request_id=message.request_id,
            )
        verdict.require(_VERBS[message.verb], deployment)
        if message.verb in _SIGNED_ONLY and not verdict.verified and self.unsigned is not Unsigned.ALL:
            what = f"{message.verb} {deployment}"
            raise RefusedError(
                Refusal(
                    code=RefusalCode.UNSIGNED,
                    message=f"nobody vouches for the sender, and an unsigned message may not {what}",
                    next_step=_SIGNED_ONLY[message.verb].format(deployment=deployment),
                ),
            )
        if isinstance(command, PromoteCommand) and command.force:
            verdict.require(Verb.FORCE, deployment)
        return verdict

    @property
    def unsigned_rights(self) -> frozenset[Verb]:
        """What an unsigned message may do."""
        return _UNSIGNED_RIGHTS[self.unsigned]

    def believing(self, verifies: Callable[[str, str], bool]) -> "Authority":
        """Return an authority that believes further keys, for messages that come by a schedule."""

        def either(text: str, signature: str) -> bool:
            return verifies(text, signature) or self.verifies(text, signature)

        return replace(self, verifies=either)

    def attested(self, step: StepT) -> StepT:
        """Return ``step`` with what the signatures of its notes say, whatever the notes say of that themselves."""
        return step.model_copy(update={"notes": tuple(self._attested(step.deployment, note) for note in step.notes)})

    def _attested(self, deployment: str, note: Note) -> Note:
        message = note.message
        if message is None:
            door = None if note.door in VERIFYING_DOORS else note.door
            return note.model_copy(update={"verified": False, "door": door, "issuer": ""})
        command = message.command
        is_of_note = command.by == note.by and message.verb in _NOTE_VERBS.get(note.kind, ())
        if is_of_note and self._is_signed(deployment, message):
            changes = {"verified": True, "door": command.door or message.came_by, "issuer": command.issuer}
        else:
            changes = {"verified": False, "door": _plain_door(message), "issuer": ""}
        return note.model_copy(update=changes)

    def _is_signed(self, deployment: str, message: Message) -> bool:
        command = message.command
        if not command.signature:
            return False
        text = text_of_command(self.installation, deployment, message.verb, message.request_id, command)
        return self.verifies(text, command.signature)

    def _unsigned(self, door: Channel | None) -> Verdict:
        return Verdict(door=door, rights=_UNSIGNED_RIGHTS[self.unsigned])


def verbs_of(verb: str, *, force: bool = False) -> tuple[Verb, ...]:
    """Return the rights that a command takes, by its message's name."""
    if verb == RESCHEDULE:
        return RESCHEDULE_RIGHTS
    return (_VERBS[verb], Verb.FORCE) if force else (_VERBS[verb],)


def spent(verb: str, request_id: str) -> Refusal:
    """Return the refusal of a signed message that counted before."""
    what = "start" if verb == START else verb
    return Refusal(
        code=RefusalCode.REQUEST_SPENT,
        message=f"the {what} with request id {request_id} counted before, and a signed message counts once",
        next_step="send it again, with a new request id, if it is still meant",
    )


def _plain_door(message: Message) -> Channel:
    door = message.command.door
    return message.came_by if door is None or door in VERIFYING_DOORS else door


def _require_valid(until: datetime | None, request_id: str, now: datetime | None) -> None:
    """Refuse a signed message that does not say until when it counts or under which id, or that came too late."""
    if until is None or not request_id:
        raise RefusedError(
            Refusal(
                code=RefusalCode.TOO_LATE,
                message="the signed message does not say until when it is valid, or under which id",
                next_step="send it with this version's command line or API",
            ),
        )
    if now is None or now > until:
        raise RefusedError(
            Refusal(
                code=RefusalCode.TOO_LATE,
                message=f"the signed message was valid until {utc(until)}",
                next_step="look at the rollout and send it again if it is still meant",
            ),
        )
