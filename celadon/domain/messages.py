"""What goes into a rollout and comes out of it: request, commands, answers, result, status.

Every field of a command is optional, so that a bare ``temporal workflow signal --name promote`` works.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, Discriminator, Field, Tag, model_validator

from celadon.domain.durations import Duration
from celadon.domain.errors import Refusal
from celadon.domain.names import DeploymentName, Epoch, RevisionNumber, RolloutId, RouteSetId
from celadon.domain.policy import BlueGreenPolicy
from celadon.domain.revision import Revision
from celadon.domain.states import Door, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.strictness import Record, StrictModel

UNDECLARED = "undeclared"
"""Who asked, when nobody said so."""

Replicas = Annotated[int, Field(ge=0, le=10_000)]
Person = Annotated[str, Field(max_length=200)]
Reason = Annotated[str, Field(max_length=2000)]
Number = Annotated[int, Field(ge=1, le=2_147_483_647)]
"""The number of a revision or of a rollout, as far as the table counts."""
OBJECT_TAG = "revision-object"
NUMBER_TAG = "revision-number"


def _which_revision(value: object) -> str:
    return OBJECT_TAG if isinstance(value, dict | Revision) else NUMBER_TAG


RevisionChoice = Annotated[
    Annotated[Revision, Tag(OBJECT_TAG)] | Annotated[Number, Tag(NUMBER_TAG)],
    Discriminator(_which_revision),
]


class RolloutRequest(StrictModel):
    """The input of a rollout, and the shape of a deployment file."""

    deployment: DeploymentName
    replicas: Replicas | None = None
    """Nothing keeps the deployment's number (1 for a new deployment)."""
    revision: RevisionChoice
    """What to serve, or the number of a revision that the deployment has had before."""
    policy: BlueGreenPolicy = BlueGreenPolicy()
    requested_by: Person = UNDECLARED
    reason: Reason = ""
    allow_plain_secrets: bool = False
    """Allows plain values under variables whose names look like secrets."""

    @model_validator(mode="after")
    def _keeps_secrets(self) -> Self:
        if isinstance(self.revision, Revision) and not self.allow_plain_secrets:
            names = self.revision.plain_secrets()
            if names:
                raise ValueError(
                    f"plain values under names that look like secrets: {', '.join(names)}; "
                    "write {secret: NAME} instead, or set allow_plain_secrets: true",
                )
        return self


class Command(StrictModel):
    """What every command may say."""

    rollout: Number | None = None
    by: Person = UNDECLARED
    reason: Reason = ""
    valid_until: AwareDatetime | None = None
    """After this moment the command is refused: Temporal delivers an update whose caller has given up long ago."""


class PromoteCommand(Command):
    """Asks for the switch. Without ``revision`` and ``rollout`` it means the green that waits."""

    revision: Number | None = None
    force: bool = False


class AbortCommand(Command):
    """Asks to go back: before the switch green is closed, after it traffic returns to blue."""


class GreenChanged(Record):
    """An edge of the green set's condition, told by the keeper; ``seq`` rises with each edge of the set."""

    route_set: RouteSetId
    seq: int
    condition: SetCondition
    running: int
    ready: int
    required: int
    wanted: int
    failed: bool = False
    last_error: str = ""


class RoutersAcknowledged(Record):
    """Every live router serves ``epoch`` or a later one; told by the keeper to a rollout that waits for it."""

    epoch: Epoch


class PromoteState(StrEnum):
    """How far a promotion went while its caller waited."""

    RECORDED = "recorded"
    GROWING = "growing"
    SWITCHED = "switched"


class PromoteAnswer(Record):
    """The answer to a promotion."""

    state: PromoteState
    approvals: int = 1
    needed: int = 1
    epoch: Epoch | None = None
    acknowledged_by: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    ms: float = 0.0
    """From the switch's begin to the last router's acknowledgement, in milliseconds."""


class AbortAnswer(Record):
    """The answer to an abort or rollback."""

    outcome: RolloutOutcome
    epoch: Epoch | None = None
    """Set when traffic returned to blue."""
    acknowledged_by: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    ms: float = 0.0


class RolloutResult(Record):
    """How a rollout ended; the workflow's result."""

    rollout: RolloutId
    outcome: RolloutOutcome
    from_revision: RevisionNumber | None
    to_revision: RevisionNumber
    epoch: Epoch
    started_at: datetime
    switched_at: datetime | None
    completed_at: datetime
    requests_cut: int
    reason: str
    evidence: dict[str, str]


class RefusedMessage(Record):
    """A message that changed nothing, as the status shows it."""

    at: datetime
    message: str
    door: Door
    by: str
    refusal: Refusal


class Timer(Record):
    """A timer that runs, as the status shows it."""

    name: str
    fires_at: datetime
    remaining: Duration


class RolloutStatus(Record):
    """The answer to the ``status`` query: what a rollout knows without reading the table."""

    deployment: str
    rollout: RolloutId | None
    phase: RolloutPhase
    since: datetime
    from_revision: RevisionNumber | None
    to_revision: RevisionNumber | None
    policy: BlueGreenPolicy | None
    timers: tuple[Timer, ...]
    decision: str
    """What was decided last and by whom; empty while nothing was."""
    holding: str
    """Why no timer runs and a person must decide; empty when that is not so."""
    approvals: int
    approvals_needed: int
    abort_requested: str
    """Who asked to go back and why; empty while nobody did."""
    green: GreenChanged | None
    """The last edge that the keeper told."""
    epoch: Epoch | None
    """The epoch of the switch, or of the switch back."""
    silent_routers: tuple[str, ...]
    refused: tuple[RefusedMessage, ...]
    """The last ten messages that changed nothing."""
    refused_total: int
    outcome: RolloutOutcome | None
    next_step: str
    """What a person can do now, with the command."""
