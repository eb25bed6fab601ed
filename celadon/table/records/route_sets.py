"""Sets of replicas, and the replicas."""

from datetime import datetime

from pydantic import Field

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import RevisionNumber, RolloutId, RouteId, RouteSetId
from celadon.domain.language.states import (
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
    RouteTrafficStatus,
    SetCondition,
)


class RouteRecord(Record):
    """A replica that has not ended."""

    route: RouteId
    """The replica's id, a UUID."""
    deployment: str
    """The deployment's name."""
    route_set: RouteSetId
    """The set that it is a member of."""
    revision: RevisionNumber
    """The revision that it serves."""
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
    traffic: RouteTrafficStatus
    """Whether it gets new requests."""
    created_at: datetime
    """When it was asked for."""
    started_at: datetime | None
    """When it began to run; nothing before that."""
    last_error: str
    """What its last failed probe or its end said; empty when nothing went wrong."""

    @property
    def ratio(self) -> float:
        """The share of a replica's weight that traffic gives it: 1.0 when active, else 0.0."""
        return 1.0 if self.traffic is RouteTrafficStatus.ACTIVE else 0.0


class RouteSetRecord(Record):
    """A set that is not gone."""

    route_set: RouteSetId
    """The set's number."""
    deployment: str
    """The deployment's name."""
    revision: RevisionNumber
    """The revision that its replicas serve."""
    rollout: RolloutId
    """The rollout that opened it."""
    is_live: bool
    """Whether the deployment's traffic goes to it."""
    state: RouteSetState
    """What the keeper does for it."""
    condition: SetCondition
    """What it is as a whole, as its rollout was told last."""
    wanted: int
    """How many replicas it should have."""
    last_error: str
    """What its replicas fail with, each cause once and how many have it; empty when nothing is wrong."""
    drain_deadline: datetime | None
    """When its last replicas are stopped with what still runs on them; nothing while it does not drain."""
    requests_cut: int
    """Requests that still ran when it was stopped at that deadline."""
