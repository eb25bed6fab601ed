"""The state of a rollout as its decisions see it, and the answers that decisions give."""

from datetime import datetime

from celadon.domain.messages import AbortCommand, GreenChanged, PromoteCommand
from celadon.domain.names import RevisionNumber, RolloutId, RouteSetId
from celadon.domain.policy import BlueGreenPolicy
from celadon.domain.states import Door, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.steps import Message
from celadon.domain.strictness import Record


class AbortRequest(Record):
    """Somebody asked to go back."""

    command: AbortCommand
    door: Door
    at: datetime
    message: Message | None = None


class PromotionRequest(Record):
    """Somebody asked to go ahead."""

    command: PromoteCommand
    door: Door
    at: datetime
    message: Message | None = None


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
    dipped: bool = False
    """Whether green was not ready at some time since it was verified, be it ready again by now."""
    dipped_by_itself: bool = False
    """Whether that was green's own doing: that it grows because somebody scaled it is not."""
    waited_since: datetime | None = None
    """When green waited for a promotion for the first time; ``promotion_deadline`` counts from here."""
    regressions: int = 0
    abort: AbortRequest | None = None
    promotion: PromotionRequest | None = None
    outcome: RolloutOutcome | None = None

    @property
    def green_is_ready(self) -> bool:
        """Whether the last edge said that enough greens are healthy."""
        return self.green is not None and self.green.condition is SetCondition.READY

    @property
    def green_failed(self) -> bool:
        """Whether the keeper gave green up."""
        return self.green is not None and self.green.condition is SetCondition.FAILED

    @property
    def holding(self) -> bool:
        """Whether green regressed so often that timers no longer decide."""
        return self.regressions > self.policy.max_regressions
