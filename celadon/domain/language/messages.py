"""What goes into a rollout and comes out of it: request, commands, answers, result, status.

Commands and their answers stand in ``commands``, which loads quickly.
"""

from datetime import datetime
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from celadon.domain.language.approval import Approval
from celadon.domain.language.base_models import NUMBER_TAG, OBJECT_TAG, Record, StrictModel
from celadon.domain.language.commands import UNDECLARED, NamedRevision, Person, Reason
from celadon.domain.language.durations import Span
from celadon.domain.language.errors import Refusal
from celadon.domain.language.growth import Growth
from celadon.domain.language.labels import Labels
from celadon.domain.language.limits import REQUEST_BYTES, bounded_cause
from celadon.domain.language.names import DeploymentName, Epoch, RevisionNumber, RolloutId, RouteSetId
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import MOST_REPLICAS, BlueGreenPolicy
from celadon.domain.language.revision import Revision
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.traffic import Traffic
from celadon.domain.language.utc_moment import ZonedMoment

MAX_REPLICAS: Final = MOST_REPLICAS
Replicas = Annotated[int, Field(ge=0, le=MAX_REPLICAS)]


def _which_revision(value: object) -> str:
    return OBJECT_TAG if isinstance(value, dict | Revision) else NUMBER_TAG


RevisionChoice = Annotated[
    Annotated[Revision, Tag(OBJECT_TAG)] | Annotated[NamedRevision, Tag(NUMBER_TAG)],
    Discriminator(_which_revision),
]


class RolloutRequest(StrictModel):
    """The input of a rollout, and the shape of a deployment file."""

    most_bytes = REQUEST_BYTES

    deployment: DeploymentName
    """The service's name: a DNS label, and its address on the routers."""
    replicas: Replicas | None = None
    """How many replicas each colour has; when not given, as many as the deployment has (1 for a new one)."""
    revision: RevisionChoice
    """What to serve, or the number of a revision that the deployment has had before."""
    policy: BlueGreenPolicy = BlueGreenPolicy()
    """How the rollout may go; what is not given is as the deployment's own policy says, else the default."""
    labels: Labels | None = None
    """What API tokens are scoped by. A new deployment gets them; one that exists must have the same."""
    traffic: Traffic | None = None
    """How clients reach the deployment beside its name, and how routers treat their requests; what is not given stays
    as it is."""
    requested_by: Person = UNDECLARED
    """Who asks, for the audit log."""
    reason: Reason = ""
    allow_plain_secrets: bool = False
    """Allows plain values under variables whose names look like secrets."""
    rollback: bool = False
    """Whether it goes back to a revision that was live before, named by its number: inside the deployment's
    `rollback_window` it needs no gate, and the right to roll back instead of the right to start."""
    restart: bool = False
    """Whether it is rolled out once more when it is live already, under way or waiting; else nothing is done then."""

    @model_validator(mode="after")
    def _goes_back_to_what_there_is(self) -> Self:
        if self.rollback and isinstance(self.revision, Revision):
            raise ValueError("a rollback names the number of a revision that was live before")
        return self

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


class StartMemo(Record):
    """What a door says of a start, beside the request itself; stored in the workflow's memo."""

    request_id: str = ""
    """A repeat with the same id finds the rollout that the first one started; a signed one starts one rollout only."""
    door: Channel | None = None
    """Through which door the request came in."""
    issuer: str = ""
    """Who vouches for ``requested_by`` to the door."""
    rights: tuple[Verb, ...] = ()
    """What the door lets the sender do; only a signed start's rights count."""
    valid_until: ZonedMoment | None = None
    """A signed start that Temporal took later was copied."""
    signature: str = ""
    """What the door has signed the start with; empty when it signs nothing."""


class GreenChanged(Record):
    """An edge of the green set's condition, told by the keeper; ``seq`` rises with each edge of the set."""

    route_set: RouteSetId
    """Green's set."""
    seq: int
    """The edge's number; it rises with each edge of the set."""
    condition: SetCondition
    """What the set as a whole came to."""
    running: int
    """Replicas that run."""
    ready: int
    """Replicas that count as healthy."""
    required: int
    """Healthy replicas that a switch asks for."""
    wanted: int
    """Replicas that the set should have."""
    failed: bool = False
    """Whether the keeper gave the set up."""
    last_error: Annotated[str, AfterValidator(bounded_cause)] = ""
    """What went wrong last, in at most 2,000 bytes; empty when nothing did."""
    scaled: bool = False
    """Whether somebody made green grow just now: that it is not ready then is no fault of its revision."""
    rollout: RolloutId | None = None
    """The rollout that opened the set; nothing when a keeper of an earlier release told it."""
    lost_since: datetime | None = None
    """Since when no replica of a live green is healthy; nothing while one is, and before the switch."""


class RoutersAcknowledged(Record):
    """Every live router serves ``epoch`` or a later one; told by the keeper to a rollout that waits for it."""

    epoch: Epoch
    """The epoch that all live routers serve."""
    rollout: RolloutId | None = None
    """The rollout that waits for it; nothing when a keeper of an earlier release told it."""


class BlueChanged(Record):
    """Blue can take the traffic now, or never again; told by the keeper to a rollout whose way back waits for it."""

    rollout: RolloutId
    """The rollout that asked; any other drops it."""
    route_set: RouteSetId
    """Blue's set."""
    seq: int
    """The deployment's epoch, which rises with each change of a replica."""
    ready: int
    """Healthy replicas of blue."""
    required: int
    """Healthy replicas that the way back asks for."""
    wanted: int
    """Replicas that blue should have."""
    gone: bool = False
    """Whether there is no way back any more."""


class KeeperBack(Record):
    """A living keeper has looked at green; told to a rollout whose switch was refused because none had."""

    rollout: RolloutId
    """The rollout that asked; any other drops it."""
    ready: int
    """Healthy replicas of green that this keeper has seen."""
    required: int
    """Healthy replicas that a switch asks for."""


class GateChanged(Record):
    """What kept the gate shut has ended; told to a rollout whose switch was refused because of it."""

    rollout: RolloutId
    """The rollout that asked; any other drops it."""
    what: str
    """What has ended, for people, such as ``the freeze has ended``."""


class RoomChanged(Record):
    """There is room for more replicas; told to a rollout whose green, or its growth, waits for it."""

    rollout: RolloutId
    """The rollout that asked; any other drops it."""
    used: int
    """Replicas that the deployment's sets have by now."""
    bound: int
    """How many they may have."""


class RolloutResult(Record):
    """How a rollout ended; the workflow's result."""

    rollout: RolloutId
    """The rollout's number."""
    outcome: RolloutOutcome
    """How it ended."""
    from_revision: RevisionNumber | None
    """Blue's revision; nothing for a first deployment."""
    to_revision: RevisionNumber
    """Green's revision."""
    epoch: Epoch
    """The deployment's epoch when it ended."""
    started_at: datetime
    """When it began."""
    switched_at: datetime | None
    """When traffic went to green; nothing when it never did."""
    completed_at: datetime
    """When it ended."""
    requests_cut: int
    """Requests that still ran when their replica was stopped at its deadline."""
    reason: str
    """Why it ended so."""
    evidence: dict[str, str]
    """What the outcome rests on, by name."""


class RefusedMessage(Record):
    """A message that changed nothing, as the status shows it."""

    at: datetime
    """When it was refused."""
    message: str
    """The signal's or update's name, such as ``promote``."""
    door: Channel
    """Through which door it came in."""
    by: str
    """Who sent it, as far as it said."""
    refusal: Refusal
    """Why it changed nothing, and what to do next."""


class Timer(Record):
    """A timer that runs, as the status shows it."""

    name: str
    """What it is for, such as ``automatic promotion`` or ``bake``."""
    fires_at: datetime
    """When it ends, if nothing happens before."""
    remaining: Span
    """How long it still runs."""


class TimersSet(Record):
    """Who has given a rollout other timers than those that it began with."""

    by: str
    """Who, as far as the message said."""
    at: datetime
    """When."""
    reason: str
    """Why."""


class RolloutStatus(Record):
    """The answer to the ``status`` query: what a rollout knows without reading the table."""

    deployment: str
    """The deployment's name."""
    rollout: RolloutId | None
    """The rollout's number; nothing while it has not been registered."""
    phase: RolloutPhase
    """Where it stands."""
    since: datetime
    """When the phase began."""
    from_revision: RevisionNumber | None
    """Blue's revision; nothing for a first deployment."""
    to_revision: RevisionNumber | None
    """Green's revision; nothing while the rollout has not been registered."""
    policy: BlueGreenPolicy | None
    """The policy that it goes by, all keys given; nothing while it has not been registered."""
    timers: tuple[Timer, ...]
    """Timers that run."""
    decision: str
    """What was decided last and by whom; empty while nothing was."""
    holding: str
    """Why no timer decides now, and what ends that: a person, or what is named; empty when that is not so."""
    approvals: int
    """Approvals that there are."""
    approvals_needed: int
    """Approvals that the switch needs."""
    approved: tuple[Approval, ...] = ()
    """Who has approved and when, oldest first; only where the policy asks for approvals."""
    abort_requested: str
    """Who asked to go back and why; empty while nobody did."""
    paused_since: datetime | None = None
    """Since when its timers stand still; nothing while they run."""
    paused_until: datetime | None = None
    """When they run on by themselves; nothing when somebody has to resume the rollout."""
    timers_set: TimersSet | None = None
    """Who changed its timers last; nothing when they are those that it began with."""
    green: GreenChanged | None
    """The last edge that the keeper told."""
    growth: Growth | None = None
    """The decision by which green grows to all its replicas before the switch; nothing when none waits for that."""
    epoch: Epoch | None
    """The epoch of the switch, or of the switch back."""
    silent_routers: tuple[str, ...]
    """Live routers that have not acknowledged the epoch."""
    refused: tuple[RefusedMessage, ...]
    """The last ten messages that changed nothing."""
    refused_total: int
    """How many messages changed nothing since the rollout began."""
    outcome: RolloutOutcome | None
    """How it ended; nothing while it is under way."""
    next_step: str
    """What a person can do now, with the command."""
