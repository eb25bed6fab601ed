"""A deployment as it is asked for, as it stands with both colours, and as a line in a list."""

from datetime import datetime

from pydantic import Field, computed_field

from celadon.domain.language.approval import Approval
from celadon.domain.language.base_models import Record
from celadon.domain.language.freeze import Freeze
from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteId, RouterNode, RouteSetId
from celadon.domain.language.next_rollout import WaitingRollout
from celadon.domain.language.opening import OpeningTimes
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import (
    Colour,
    DeploymentLifecycle,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
    SetCondition,
)
from celadon.domain.language.traffic import DEFAULT_SETTINGS, TrafficSettings
from celadon.table.records.events import AuditEvent
from celadon.table.records.rollouts import RolloutRecord


class ReplicaView(Record):
    """One replica that has not ended."""

    route: RouteId
    """The replica's id, a UUID."""
    host: str
    """The IP address that routers send requests to."""
    port: int
    """The port that routers send requests to."""
    other_ports: dict[str, int] = Field(default_factory=dict)
    """Its other ports, by name, such as the one of gRPC."""
    status: RouteStatus
    """Where it stands in its life."""
    health: RouteHealthStatus
    """What the probes say of it."""
    created_at: datetime
    """When it was asked for."""
    started_at: datetime | None
    """When it began to run; nothing before that."""
    ready_at: datetime | None = None
    """When it was healthy for the first time; nothing before that."""
    last_error: str
    """What its last failed probe or its end said; empty when nothing went wrong."""
    leaving_deadline: datetime | None = None
    """Set when it leaves its set, which wants fewer: it stops when its requests have ended, or then."""
    running_requests: int | None = None
    """Requests that run on it while it leaves; nothing while a live router has not reported."""


class FailureView(Record):
    """A replica that ended by itself, with what it said last."""

    route: RouteId
    """The replica's id, a UUID."""
    port: int
    """The port that it had."""
    status: RouteStatus
    """``failed_to_start`` when it never was healthy, else ``terminated``."""
    ended_at: datetime
    """When it ended."""
    last_error: str
    """Why it ended."""
    output: str
    """The last lines that it printed."""


class LoadView(Record):
    """What one live router says of the requests that run on a draining set."""

    router: RouterNode
    """The router's name."""
    running: int | None
    """Nothing while the router has not reported since the drain began."""
    reported_at: datetime | None
    """When it reported last; nothing when it has not."""


class SetView(Record):
    """A set that is not gone, or the green of the latest rollout."""

    route_set: RouteSetId
    """The set's number."""
    revision: RevisionNumber
    """The revision that its replicas serve."""
    rollout: RolloutId
    """The rollout that opened it."""
    colour: Colour | None
    """Nothing for a set that an earlier rollout left draining."""
    is_live: bool
    """Whether the deployment's traffic goes to it."""
    state: RouteSetState
    """What the keeper does for it."""
    condition: SetCondition
    """What it is as a whole, as its rollout was told last."""
    wanted: int
    """How many replicas it should have."""
    running: int
    """Replicas that run."""
    healthy: int
    """Replicas that run, are healthy and stay."""
    required: int | None
    """Healthy replicas that the rollout asks for, of its own green."""
    replacements: int
    """How many of its replicas failed and were replaced."""
    last_error: str
    """What its replicas fail with, each cause once and how many have it; empty when nothing is wrong."""
    replicas: tuple[ReplicaView, ...]
    """Those that have not ended."""
    failures: tuple[FailureView, ...]
    """The last replicas that ended by themselves, newest first."""
    drain_deadline: datetime | None
    """When its last replicas are stopped with what still runs on them; nothing while it does not drain."""
    load: tuple[LoadView, ...]
    """By live router, while the set drains."""
    requests_cut: int
    """Requests that still ran when their replica was stopped at its deadline."""
    failover_requests: int = 0
    """Requests that routers sent to it, while it baked as blue, because no replica of green could take them."""
    failover_since: datetime | None = None
    """When they sent the first of them; nothing while there was none."""

    @property
    def running_requests(self) -> int | None:
        """Requests that run on a draining set; nothing while a live router has not reported."""
        counts = [one.running for one in self.load if one.running is not None]
        return sum(counts) if counts and len(counts) == len(self.load) else None


class RouterView(Record):
    """A live router, and what it serves of the deployment."""

    router: RouterNode
    """The router's name."""
    gateway: str
    """Which gateway it asked last."""
    seen_at: datetime
    """When a gateway last saw it connected."""
    epoch: Epoch | None
    """What it acknowledged last; nothing when it never did."""
    acknowledged: bool
    """Whether it serves the present epoch."""
    nack: str
    """Why it refused its last configuration; empty when it did not."""


class DeploymentView(Record):
    """A deployment at one moment."""

    deployment: str
    """The deployment's name."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What API tokens are scoped by."""
    hosts: tuple[str, ...] = ()
    """Host names of its own, beside those that are made of its name."""
    traffic: TrafficSettings = DEFAULT_SETTINGS
    """How routers treat its requests; what is not given has its default."""
    at: datetime
    """The moment, by the database's clock."""
    lifecycle: DeploymentLifecycle
    """Where it stands in its life."""
    replicas: int
    """How many replicas it wants."""
    freezes: tuple[Freeze, ...] = ()
    """The freezes that hold or are to come, of this deployment and of all, the newest first."""
    epoch: Epoch
    """Its traffic version: every change of what routers are told raises it by one."""
    live_set: RouteSetId | None
    """The set that its traffic goes to; nothing when none does."""
    live_revision: RevisionNumber | None
    """The revision that is live; nothing when none is."""
    panic: bool
    """Too few live replicas are healthy, so that unhealthy ones get traffic too."""
    keeper_alive: bool
    """Whether somebody vouches for health; without a keeper nothing starts, stops or is replaced."""
    rollout: RolloutRecord | None
    """The latest rollout, under way or ended."""
    next: WaitingRollout | None = None
    """The rollout that waits for its turn; nothing when none does."""
    sets: tuple[SetView, ...]
    """What is live, what comes and what drains, oldest first."""
    routers: tuple[RouterView, ...]
    """Live routers only."""
    events: tuple[AuditEvent, ...]
    """The last lines of the audit log, newest first."""
    approvals: tuple[Approval, ...] = ()
    """Who has approved the switch of the latest rollout, oldest first; only where its policy asks for approvals."""
    policy: BlueGreenPolicy = BlueGreenPolicy()
    """What the deployment itself says; each rollout may say more."""
    defaults: BlueGreenPolicy = BlueGreenPolicy()
    """What the installation says where the deployment says nothing."""
    paused: bool = False
    """Whether the timers of the latest rollout stand still."""
    openings: OpeningTimes | None = None
    """When the windows of the rollout that is under way before its switch are open; nothing when it has none."""

    @computed_field  # type: ignore[prop-decorator]  # mypy does not know computed fields
    @property
    def frozen(self) -> bool:
        """Whether a freeze holds, so that nothing may be switched to green."""
        return any(one.holds_at(self.at) for one in self.freezes)


class DeploymentLine(Record):
    """A deployment in a list."""

    deployment: str
    """The deployment's name."""
    lifecycle: DeploymentLifecycle
    """Where it stands in its life."""
    frozen: bool
    """Whether nothing may be switched."""
    paused: bool = False
    """Whether the timers of its latest rollout stand still."""
    epoch: Epoch
    """Its traffic version: every change of what routers are told raises it by one."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What API tokens are scoped by."""
    hosts: tuple[str, ...] = ()
    """Host names of its own, beside those that are made of its name."""
    traffic: TrafficSettings = DEFAULT_SETTINGS
    """How routers treat its requests; what is not given has its default."""
    replicas: int
    """How many replicas it wants."""
    live_revision: RevisionNumber | None
    """The revision that is live; nothing when none is."""
    wanted: int
    """Replicas of the live set."""
    healthy: int
    """Healthy replicas of the live set."""
    rollout: RolloutRecord | None
    """The latest rollout, under way or ended."""
    next: WaitingRollout | None = None
    """The rollout that waits for its turn; nothing when none does."""


class NewDeployment(Record):
    """A deployment that is to exist; nothing of it runs before its first rollout."""

    name: str
    replicas: int
    policy: BlueGreenPolicy
    labels: dict[str, str]
    hosts: tuple[str, ...] = ()
    settings: TrafficSettings = DEFAULT_SETTINGS
    """How routers treat its requests."""
