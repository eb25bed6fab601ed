"""Rollouts, and which of them are meant."""

from datetime import datetime

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteSetId
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import RolloutOutcome, RolloutPhase


class RolloutRecord(Record):
    """One rollout as the table has it."""

    rollout: RolloutId
    """The rollout's number; it is unique among all deployments."""
    deployment: str
    """The deployment's name."""
    workflow_id: str
    """The id of its workflow in Temporal."""
    run_id: str
    """The id of the workflow's run in Temporal that registered it."""
    from_revision: RevisionNumber | None
    """Blue's revision; nothing for a first deployment."""
    to_revision: RevisionNumber
    """Green's revision."""
    blue_set: RouteSetId | None
    """The set that was live when it began; nothing for a first deployment."""
    green_set: RouteSetId | None
    """The set that it opened; nothing before that."""
    replicas: int
    """How many replicas green was to have when it began."""
    policy: BlueGreenPolicy
    """The policy that it goes by, all keys given; durations such as ``5m``."""
    gated: bool
    """False for a first deployment that goes live as soon as green is healthy."""
    rollback_window: str | None = None
    """Of a rollback that was started when no rollout was under way: whether it is inside the rollback window and needs
    no gate, in words; nothing of any other rollout."""
    next: int | None = None
    """The number under which it waited for its turn; nothing when it did not wait."""
    requested_by: str
    """Who asked for it."""
    reason: str
    """Why it was asked for."""
    phase: RolloutPhase
    """Where it stands."""
    phase_since: datetime
    """When the phase began."""
    started_at: datetime
    """When it began."""
    switched_at: datetime | None
    """When traffic went to green; nothing when it has not."""
    switch_epoch: Epoch | None
    """The epoch of the switch to green; nothing when there was none."""
    switched_back_at: datetime | None
    """When traffic returned to blue; nothing when it has not."""
    switch_back_epoch: Epoch | None
    """The epoch of the switch back to blue; nothing when there was none."""
    awaits_epoch: Epoch | None
    """Set while the rollout waits until every live router serves this epoch."""
    awaits_signal: str | None = None
    """Set while a step that was refused for the moment waits: ``blue_changed`` for a blue that can take the traffic,
    ``gate_changed`` for the end of a freeze, ``keeper_back`` for a keeper that has looked at green, ``room_changed``
    for room for green, or for its growth."""
    outcome: RolloutOutcome | None
    """How it ended; nothing while it is under way."""
    outcome_reason: str
    """Why it ended so; empty while it is under way."""
    evidence: dict[str, str]
    """What the outcome rests on, by name."""
    completed_at: datetime | None
    """When it ended; nothing while it is under way."""
    requests_cut: int
    """Requests that still ran when their replica was stopped at its deadline; counted when the rollout ends."""


class RolloutFilter(Record):
    """Which rollouts are meant; what is not said restricts nothing."""

    deployments: tuple[str, ...] | None = None
    """Only of these deployments."""
    phase: RolloutPhase | None = None
    """Only those in this phase."""
    outcome: RolloutOutcome | None = None
    """Only those that ended so."""
    unfinished: bool | None = None
    """Only those under way when true, only those that have ended when false."""
