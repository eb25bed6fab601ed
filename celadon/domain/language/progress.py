"""The state of a rollout as its decisions see it, and the answers that decisions give."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self, TypedDict, Unpack

from pydantic import AliasChoices, Field

from celadon.domain.language.approval import Approval
from celadon.domain.language.base_models import Record
from celadon.domain.language.commands import AbortCommand, PromoteCommand
from celadon.domain.language.freeze import Freeze
from celadon.domain.language.growth import Growth
from celadon.domain.language.messages import BlueChanged, GreenChanged, TimersSet
from celadon.domain.language.names import RevisionNumber, RolloutId, RouteSetId
from celadon.domain.language.next_rollout import Successor
from celadon.domain.language.opening import TimerOpening
from celadon.domain.language.pause import Pause
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import Message


class AbortRequest(Record):
    """Somebody asked to go back."""

    command: AbortCommand
    door: Channel
    at: datetime
    message: Message | None = None
    lost_green: bool = False
    """Whether nobody asked but the policy, because no replica of the live green is healthy."""


class PromotionRequest(Record):
    """Somebody asked to go ahead."""

    command: PromoteCommand
    door: Channel
    at: datetime
    message: Message | None = None


class Winner(Record):
    """Whose decision is carried out: a person, or the policy by one of its timers."""

    by: str
    door: Channel
    at: datetime


class PendingAbort(Record):
    """An abort that counts, and that blue cannot take for the moment: it is tried again whenever blue has changed.

    While there is one, the bake does not end.
    """

    request: AbortRequest
    since: datetime
    """When blue could not take the traffic for the first time."""
    why: str
    """What the table said last."""


class Still(Record):
    """A span in which a timer stands still."""

    since: datetime
    until: datetime | None
    """Nothing while nobody knows when it ends."""


class HoldKind(StrEnum):
    """What keeps a verified green from being switched to, and is not its own doing."""

    FROZEN = "frozen"
    """The deployment is frozen."""
    KEEPER_SILENT = "keeper_silent"
    """No living keeper vouches for the health of enough greens."""
    BLUE_CHANGED = "blue_changed"
    """Another set is live than the one that the rollout began with."""
    NOT_BY_ITSELF = "not_by_itself"
    """The policy leaves the switch to a person."""
    WINDOW = "window"
    """A timer is due, and the policy's windows are closed."""
    APPROVALS = "approvals"
    """A timer is due, and too few people have approved."""
    NO_ROOM = "no_room"
    """``max_total_replicas`` leaves no room for green, or for its growth."""


class Hold(Record):
    """A reason why no timer decides now. A person's promotion is tried all the same."""

    kind: HoldKind
    since: datetime
    why: str
    """What the table said, for people."""
    ended_by: str = ""
    """The internal signal that ends it; empty when nothing but a person's decision, or ``until``, does."""
    until: datetime | None = None
    """The moment at which it ends by itself; nothing when no moment does."""


class ProgressChanges(TypedDict, total=False):
    """New values for fields of :class:`Progress`, for the type checker; a test compares the two."""

    deployment: str
    phase: RolloutPhase
    since: datetime
    policy: BlueGreenPolicy
    gated: bool
    rollout: RolloutId | None
    from_revision: RevisionNumber | None
    to_revision: RevisionNumber | None
    blue_set: RouteSetId | None
    green_set: RouteSetId | None
    green: GreenChanged | None
    unverified_since: datetime | None
    verified_since: datetime | None
    regressed_since_verified: bool
    regressed_by_itself: bool
    waited_since: datetime | None
    regressions: int
    regressed_at: datetime | None
    hold: Hold | None
    opening: TimerOpening | None
    paused: Pause | None
    stood_still: tuple[Still, ...]
    freezes: tuple[Freeze, ...]
    freezes_read_at: datetime | None
    timers_set: TimersSet | None
    abort: AbortRequest | None
    pending: PendingAbort | None
    bake_is_over: bool
    bake_stood_still: timedelta
    blue: BlueChanged | None
    cures: int
    green_lost_since: datetime | None
    promotion: PromotionRequest | None
    winner: Winner | None
    growth: Growth | None
    approvals: tuple[Approval, ...]
    successor: Successor | None
    outcome: RolloutOutcome | None


class Progress(Record):
    """Everything that the decisions of one rollout rest on."""

    deployment: str
    phase: RolloutPhase
    since: datetime
    """When the phase began."""
    policy: BlueGreenPolicy = BlueGreenPolicy()
    gated: bool = True
    rollout: RolloutId | None = None
    from_revision: RevisionNumber | None = None
    to_revision: RevisionNumber | None = None
    blue_set: RouteSetId | None = None
    green_set: RouteSetId | None = None
    green: GreenChanged | None = None
    unverified_since: datetime | None = None
    """When green was opened, scaled up or regressed last; ``provisioning_deadline`` counts from here."""
    verified_since: datetime | None = None
    """When all of green was verified last; nothing while it is not."""
    regressed_since_verified: bool = Field(
        default=False,
        validation_alias=AliasChoices("regressed_since_verified", "dipped"),
    )
    """Whether green was not ready at some time since it was verified, be it ready again by now.

    Runs that waited through an upgrade carry it by its former name.
    """
    regressed_by_itself: bool = Field(
        default=False,
        validation_alias=AliasChoices("regressed_by_itself", "dipped_by_itself"),
    )
    """Whether that was green's own doing: that it grows because somebody scaled it is not."""
    waited_since: datetime | None = None
    """When green waited for a promotion for the first time; ``promotion_deadline`` counts from here."""
    regressions: int = 0
    regressed_at: datetime | None = None
    """When green regressed by its own doing last; nothing in what earlier versions stored."""
    hold: Hold | None = None
    """Why no timer asks for the switch, although green is verified and did nothing."""
    opening: TimerOpening | None = None
    """When the policy's windows let the timer switch that is due next; nothing while none was looked up."""
    paused: Pause | None = None
    """Set while all timers stand still."""
    stood_still: tuple[Still, ...] = ()
    """Spans that are over in which ``promotion_deadline`` did not run, because of pauses and freezes."""
    freezes: tuple[Freeze, ...] = ()
    """Freezes that hold, or are to come, as the table told them last."""
    freezes_read_at: datetime | None = None
    """When the table told them, by its clock; nothing when it was never asked."""
    timers_set: TimersSet | None = None
    """Who has given it other timers than those that it began with."""
    abort: AbortRequest | None = None
    """An abort that is to be carried out now."""
    pending: PendingAbort | None = None
    """An abort that blue cannot take for the moment."""
    bake_is_over: bool = False
    """Whether the time of the bake has passed, or a person has finished it."""
    bake_stood_still: timedelta = timedelta(0)
    """How long pauses that have ended have held the bake up."""
    blue: BlueChanged | None = None
    """What the keeper told last of blue, when it was asked."""
    cures: int = 0
    """How many signals came that say that a refused step is worth another attempt."""
    green_lost_since: datetime | None = None
    """Since when no replica of the live green is healthy; nothing while one is."""
    promotion: PromotionRequest | None = None
    winner: Winner | None = None
    """Who decided the switch that was asked for last; nothing before one was, and in what earlier versions stored."""
    growth: Growth | None = None
    """A decision that was taken, and waits until green has grown to all its replicas."""
    approvals: tuple[Approval, ...] = ()
    """Who has approved the switch, as the table told last; only where the policy asks for approvals."""
    successor: Successor | None = None
    """What waits for its turn, as the table told last."""
    outcome: RolloutOutcome | None = None

    def with_changes(self, **changes: Unpack[ProgressChanges]) -> Self:
        """Return the rollout with new values for some fields."""
        return self.model_copy(update=dict(changes))

    @property
    def green_is_ready(self) -> bool:
        """Whether the last edge said that enough greens are healthy."""
        return self.green is not None and self.green.condition is SetCondition.READY

    @property
    def green_failed(self) -> bool:
        """Whether the keeper gave green up."""
        return self.green is not None and self.green.condition is SetCondition.FAILED

    @property
    def paused_since(self) -> datetime | None:
        """Since when the timers stand still; nothing while they run."""
        return None if self.paused is None else self.paused.since

    @property
    def paused_until(self) -> datetime | None:
        """When the timers run on by themselves; nothing when somebody has to resume the rollout."""
        return None if self.paused is None else self.paused.until

    @property
    def automation_suspended(self) -> bool:
        """Whether green regressed so often that timers no longer decide."""
        return self.regressions > self.policy.max_regressions
