"""What routers are told of a deployment: a pure function of its sets and their members.

The rule for members that fail their probes is ``min_published`` (the fail-open rule of Envoy's panic threshold and
of Amazon's target groups): an unhealthy live member leaves only while at least half of the wanted members stay, and a
live set is never published empty because of its health. A live member that terminates gets no new request, as long as
another member stays.
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from celadon.domain.names import DeploymentName, Epoch, RouteId, RouteSetId
from celadon.domain.states import RouteHealthStatus

MIN_PUBLISHED = 0.5
"""The share of ``wanted`` members below which health no longer takes a live member out (a ratio)."""


class SetRole(StrEnum):
    """What a set is to its deployment's routers."""

    LIVE = "live"
    GREEN = "green"
    DRAINING = "draining"


class EndpointState(StrEnum):
    """How one endpoint is published; the names are those of Envoy's health status."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


class Member(BaseModel):
    """One running replica of a set that has an address."""

    model_config = ConfigDict(frozen=True)

    route: RouteId
    host: str
    port: int
    health: RouteHealthStatus
    terminating: bool = False
    """Whether the keeper is about to stop it."""


class SetTraffic(BaseModel):
    """A set that is open or draining, with its running and terminating members."""

    model_config = ConfigDict(frozen=True)

    route_set: RouteSetId
    role: SetRole
    wanted: int
    members: tuple[Member, ...]


class DeploymentTraffic(BaseModel):
    """All that the table knows of a deployment's traffic at one epoch."""

    model_config = ConfigDict(frozen=True)

    deployment: DeploymentName
    epoch: Epoch
    sets: tuple[SetTraffic, ...]


class Endpoint(BaseModel):
    """One address as routers see it; the set is its locality, so that load is reported per set."""

    model_config = ConfigDict(frozen=True)

    route_set: RouteSetId
    host: str
    port: int
    state: EndpointState


class Publication(BaseModel):
    """What every router is told of one deployment at one epoch."""

    model_config = ConfigDict(frozen=True)

    deployment: DeploymentName
    epoch: Epoch
    endpoints: tuple[Endpoint, ...]
    """Members of the deployment's own cluster: live, green and draining sets."""
    preview: tuple[Endpoint, ...]
    """Members of the preview cluster: only green takes requests there.

    Other sets stand in it as draining, so that requests which began as previews are still counted.
    """
    panic: bool
    """True while too few live members are healthy, so that unhealthy ones are published too."""


def publish(traffic: DeploymentTraffic) -> Publication:
    """Return what routers are told; total over roles and health, ordered by set and address."""
    endpoints: list[Endpoint] = []
    preview: list[Endpoint] = []
    panic = False
    for route_set in sorted(traffic.sets, key=lambda one: one.route_set):
        match route_set.role:
            case SetRole.LIVE:
                staying = [member for member in route_set.members if not member.terminating]
                out = {member.route for member in staying if member.health is RouteHealthStatus.UNHEALTHY}
                if out and len(staying) - len(out) < MIN_PUBLISHED * route_set.wanted:
                    panic, out = True, set()
                endpoints += _endpoints(route_set, EndpointState.HEALTHY, without=frozenset(out), drained=bool(staying))
                preview += _endpoints(route_set, EndpointState.DRAINING)
            case SetRole.DRAINING:
                endpoints += _endpoints(route_set, EndpointState.DRAINING)
                preview += _endpoints(route_set, EndpointState.DRAINING)
            case SetRole.GREEN:
                endpoints += _endpoints(route_set, EndpointState.UNHEALTHY)
                sick = frozenset(m.route for m in route_set.members if m.health is RouteHealthStatus.UNHEALTHY)
                preview += _endpoints(route_set, EndpointState.HEALTHY, without=sick, drained=True)
    return Publication(
        deployment=traffic.deployment,
        epoch=traffic.epoch,
        endpoints=tuple(endpoints),
        preview=tuple(preview),
        panic=panic,
    )


def _endpoints(
    route_set: SetTraffic,
    state: EndpointState,
    without: frozenset[RouteId] = frozenset(),
    *,
    drained: bool = False,
) -> list[Endpoint]:
    """Members of a set in one state, those ``without`` as unhealthy; with ``drained``, terminating ones as draining."""

    def state_of(member: Member) -> EndpointState:
        if drained and member.terminating:
            return EndpointState.DRAINING
        return EndpointState.UNHEALTHY if member.route in without else state

    return [
        Endpoint(
            route_set=route_set.route_set,
            host=member.host,
            port=member.port,
            state=state_of(member),
        )
        for member in sorted(route_set.members, key=lambda one: (one.host, one.port))
    ]
