"""Commands that people and programs send to a rollout, and its answers.

Every field of a command is optional, so that a bare ``temporal workflow signal --name promote`` works.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.declared_text import (
    check_issuer,
    check_person,
    check_reason,
    check_rights,
    check_signature,
)
from celadon.domain.language.durations import Duration
from celadon.domain.language.names import Epoch, revision_number
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase
from celadon.domain.language.utc_moment import UtcMoment, ZonedMoment

UNDECLARED = "undeclared"
"""Who asked, when nobody said so."""

Person = Annotated[str, Field(max_length=200), AfterValidator(check_person)]
Reason = Annotated[
    str,
    Field(max_length=2000, description="Why, for the audit log."),
    AfterValidator(check_reason),
]
Number = Annotated[int, Field(ge=1, le=2_147_483_647)]
"""The number of a revision or of a rollout, as far as the table counts."""
_RevisionName = Annotated[str, Field(pattern="^r[1-9][0-9]{0,9}$")]
NamedRevision = Annotated[Number, BeforeValidator(revision_number, json_schema_input_type=Number | _RevisionName)]
"""The number of a revision, by which ``r2`` is the same as 2."""


class Command(StrictModel):
    """What every command may say."""

    rollout: Number | None = None
    """The rollout that is meant; any other is refused. When not given, the one under way."""
    by: Person = UNDECLARED
    """Who asks, for the audit log."""
    reason: Reason = ""
    valid_until: ZonedMoment | None = None
    """After this moment the command is refused: Temporal delivers an update whose caller has given up long ago."""
    door: Channel | None = None
    """Through which door it came in; doors that verify who asks sign what they send."""
    issuer: Annotated[str, Field(max_length=300), AfterValidator(check_issuer)] = ""
    """Who vouches for ``by`` to the door: the issuer of a JWT, for example; empty when nobody does."""
    rights: Annotated[tuple[Verb, ...], AfterValidator(check_rights)] = ()
    """What the door lets the sender do; only a signed command's rights count."""
    signature: Annotated[str, Field(max_length=200), AfterValidator(check_signature)] = ""
    """What the door has signed the command with; empty when it signs nothing."""


class PromoteCommand(Command):
    """Asks for the switch. Without ``revision`` and ``rollout`` it means the green that waits."""

    revision: NamedRevision | None = None
    """The revision that green must be of; any other is refused. When not given, whichever waits."""
    force: bool = False
    """Also while green is being verified, without checks, and while windows for everyone are closed; needs a reason."""


class AbortCommand(Command):
    """Asks to go back: before the switch green is closed, after it traffic returns to blue."""


class BakeCommand(AbortCommand):
    """Asks to finish the bake now, or to withdraw one's own approval, or one's own abort that is pending."""


class PauseCommand(BakeCommand):
    """Asks to let all timers of a rollout stand still, or, without an end, to let them run on."""

    until: UtcMoment | None = None
    """When they run on by themselves; when not given, once somebody asks for it."""


class TakenAway(StrEnum):
    """A timer that a rollout need not have."""

    PROMOTE_AT = "promote_at"
    """The moment before which no timer promotes."""
    PROMOTION_DEADLINE = "promotion_deadline"
    """The deadline for the promotion."""


class RescheduleCommand(BakeCommand):
    """Asks for other timers of one rollout; what is not given stays."""

    auto_promote: bool | None = None
    """Whether a timer promotes green; with false the delay and the moment lapse."""
    promote_after: Duration | None = None
    """The delay, counted from the moment all of green was verified."""
    promote_at: UtcMoment | None = None
    """The moment before which no timer promotes."""
    promotion_deadline: Duration | None = None
    """Counted from the first moment that green waited for its promotion."""
    without: Annotated[tuple[TakenAway, ...], Field(max_length=len(TakenAway))] = ()
    """Timers that it is to have no more."""


class PromoteState(StrEnum):
    """How far a promotion went while its caller waited."""

    RECORDED = "recorded"
    """It was taken; the switch has not happened yet, for example because approvals are missing."""
    GROWING = "growing"
    """It was taken, and green grows to its full size first."""
    SWITCHED = "switched"
    """Traffic goes to green."""


class PromoteAnswer(Record):
    """The answer to a promotion."""

    state: PromoteState
    """How far it went while its caller waited."""
    approvals: int = 1
    """Approvals that there are, with this one."""
    needed: int = 1
    """Approvals that the switch needs."""
    approved_by: tuple[str, ...] = ()
    """Who has approved, oldest first; empty when the policy asks for no approvals."""
    decided_by: str = ""
    """Who promoted first, by whose decision the switch was made; empty while it is only recorded, or green grows."""
    grows_to: int | None = None
    """How many replicas green grows to before traffic switches; nothing unless it grows."""
    epoch: Epoch | None = None
    """The epoch of the switch; nothing when traffic was not moved (yet)."""
    acknowledged_by: tuple[str, ...] = ()
    """Routers that serve the epoch; the first 20 of more."""
    acknowledged_count: int = 0
    """How many routers serve the epoch."""
    silent: tuple[str, ...] = ()
    """Live routers that did not acknowledge the epoch within ``router_ack_timeout``; the first 20 of more."""
    silent_count: int = 0
    """How many live routers did not."""
    ms: float = 0.0
    """From the switch's begin to the last router's acknowledgement, in milliseconds."""


class AbortState(StrEnum):
    """How far an abort or rollback went while its caller waited."""

    RECORDED = "recorded"
    """It was taken, and blue cannot take the traffic for the moment; traffic goes back as soon as blue can."""
    DECIDED = "decided"
    """Green is being closed, or traffic goes to blue again."""
    STARTED = "started"
    """No rollout was under way, so one back to a revision that was live before has begun."""


class AbortAnswer(Record):
    """The answer to an abort or rollback."""

    state: AbortState = AbortState.DECIDED
    """How far it went while its caller waited."""
    outcome: RolloutOutcome | None = None
    """How the rollout ends: aborted before the switch, rolled back after it; nothing while it is only recorded."""
    why: str = ""
    """Why it is only recorded, or whether the rollback that has begun is inside the rollback window; else empty."""
    epoch: Epoch | None = None
    """Set when traffic returned to blue."""
    acknowledged_by: tuple[str, ...] = ()
    """Routers that serve the epoch; the first 20 of more."""
    acknowledged_count: int = 0
    """How many routers serve the epoch."""
    silent: tuple[str, ...] = ()
    """Live routers that did not acknowledge the epoch within ``router_ack_timeout``; the first 20 of more."""
    silent_count: int = 0
    """How many live routers did not."""
    ms: float = 0.0
    """From the begin of the way back to the last router's acknowledgement, in milliseconds."""


class Withdrawn(StrEnum):
    """What a ``withdraw`` takes back."""

    APPROVAL = "approval"
    """One's own approval of a promotion that others have still to approve."""
    ABORT = "abort"
    """One's own abort that waits for blue."""


class JudgedAnswer(Record):
    """The answer to a message that leads to no step of its own, such as ``finish``, ``pause`` or ``reschedule``."""

    phase: RolloutPhase
    """How the rollout goes on: draining once its bake is finished, else as before."""
    paused_since: AwareDatetime | None = None
    """Since when its timers stand still; nothing while they run."""
    paused_until: AwareDatetime | None = None
    """When they run on by themselves; nothing when somebody has to ask for it."""
    withdrawn: Withdrawn | None = None
    """What a ``withdraw`` has taken back; nothing for other messages."""
    pending_by: str = ""
    """Whose abort is still pending after a ``withdraw``; empty when nobody's is."""
    approvals: int | None = None
    """Approvals that are left, when one was taken back."""
    needed: int | None = None
    """Approvals that the switch needs, when one was taken back."""
    promotes_at: AwareDatetime | None = None
    """When a timer promotes it, as far as it was asked for other timers; nothing while green is not verified."""
    deadline_at: AwareDatetime | None = None
    """When its promotion deadline ends, as far as it was asked for other timers."""
