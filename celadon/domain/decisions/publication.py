"""What routers are told of a deployment: a pure function of its sets and their members.

The rule for members that fail their probes is ``min_published`` (the fail-open rule of Envoy's panic threshold and
of Amazon's target groups): an unhealthy live member leaves only while at least half of the wanted members stay, and a
live set is never published empty because of its health. A live member that was never healthy, such as one that takes
the place of another and still loads its weights, gets nothing while any other can serve. A live member that terminates
gets no new request, as long as another member stays, and one that leaves because fewer are wanted never gets any.

During the bake blue is the net under green: what no live member can take goes to blue, and nothing else does. Routers
decide that themselves, request by request; so a live set without a healthy member is not published in spite of its
health while a member of blue is healthy.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.names import DeploymentName, Epoch, RouteId, RouteSetId
from celadon.domain.language.states import RouteHealthStatus
from celadon.domain.language.traffic import DEFAULT_SETTINGS, TrafficSettings

MIN_PUBLISHED = 0.5
"""The share of ``wanted`` members below which health no longer takes a live member out (a ratio)."""


class SetRole(StrEnum):
    """What a set is to its deployment's routers."""

    LIVE = "live"
    GREEN = "green"
    WARM = "warm"
    """Blue in the bake, where the policy lets it take what no member of the live set can."""
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
    http: int | None
    """The port that gets all requests but those of gRPC; ``None`` when it has none."""
    grpc: int | None = None
    """The port that gets the requests of gRPC; ``None`` when it has none."""
    health: RouteHealthStatus
    terminating: bool = False
    """Whether the keeper is about to stop it."""
    leaving_epoch: Epoch | None = None
    """Since when it leaves a set that stays; it gets no new request."""
    ready: bool = True
    """Whether it has ever been healthy."""

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports that get requests."""
        return tuple(port for port in (self.http, self.grpc) if port is not None)


class SetTraffic(BaseModel):
    """A set that is open or draining, with its running and terminating members."""

    model_config = ConfigDict(frozen=True)

    route_set: RouteSetId
    role: SetRole
    wanted: int
    members: tuple[Member, ...]
    serves_http: bool = True
    """Whether its members have a port for requests other than those of gRPC."""
    grpc_streams: int | None = None
    """How many requests of gRPC at a time one connection to a member takes; ``None`` without a port for gRPC."""
    named_by_revision: bool = False
    """Whether its members' addresses are what somebody wrote into a revision."""


class DeploymentTraffic(BaseModel):
    """All that the table knows of a deployment's traffic at one epoch."""

    model_config = ConfigDict(frozen=True)

    deployment: DeploymentName
    epoch: Epoch
    sets: tuple[SetTraffic, ...]
    routed: bool = True
    """Whether its address leads anywhere; false once it is being deleted."""
    hosts: tuple[str, ...] = ()
    """Host names of its own."""
    settings: TrafficSettings = DEFAULT_SETTINGS
    """How routers treat its requests."""
    panicking: bool = False
    """Whether the audit log has been told of a panic and not of its end."""


class Departure(BaseModel):
    """One departure of one member from a set that stays; a later one of the same member has another epoch."""

    model_config = ConfigDict(frozen=True)

    route: RouteId
    epoch: Epoch
    """From this epoch on it gets no new request."""


class Endpoint(BaseModel):
    """One address as routers see it; the set is its locality, so that load is reported per set."""

    model_config = ConfigDict(frozen=True)

    route_set: RouteSetId
    host: str
    port: int
    state: EndpointState
    is_fallback: bool = False
    """Whether it gets only what no endpoint can take that is none."""
    departure: Departure | None = None
    """Of a member that leaves: its running requests are counted by themselves."""


class Destination(NamedTuple):
    """Where a router sends some of a deployment's requests."""

    is_grpc: bool
    """Requests of gRPC, or all others."""
    is_preview: bool
    """Previews of green, or requests to what is live."""
    is_hashed: bool = False
    """Balanced by what requests say, or by how many run on each replica."""


class Publication(BaseModel):
    """What every router is told of one deployment at one epoch."""

    model_config = ConfigDict(frozen=True)

    deployment: DeploymentName
    epoch: Epoch
    endpoints: tuple[Endpoint, ...]
    """Where requests go: live, green and draining sets."""
    preview: tuple[Endpoint, ...]
    """Where previews go: only green takes requests there.

    Other sets stand in it as draining, so that requests which began as previews are still counted.
    """
    grpc_endpoints: tuple[Endpoint, ...] = ()
    """Where requests of gRPC go."""
    grpc_preview: tuple[Endpoint, ...] = ()
    """Where previews by gRPC go."""
    serves_http: bool = True
    """Whether a set has a port for requests other than those of gRPC, or there is no set yet."""
    grpc_streams: int | None = None
    """How many requests of gRPC at a time one connection takes; ``None`` when no set has a port for gRPC.

    Routers lose their count of running requests when it changes, so what drains then drains until its deadline.
    """
    panic: bool
    """True while too few live members are healthy, so that unhealthy ones are published too."""
    routed: bool = True
    """False once the deployment is being deleted: routers lose their route to it before its endpoints drain."""
    hosts: tuple[str, ...] = ()
    """Host names of its own, in small letters, beside those that are made of its name."""
    settings: TrafficSettings = DEFAULT_SETTINGS
    """How routers treat its requests."""

    @property
    def destinations(self) -> Mapping[Destination, tuple[Endpoint, ...]]:
        """The endpoints of every destination that there is.

        A deployment of which somebody has ever said how it is balanced keeps the destinations of both ways, so that a
        change moves its requests from one to the other, and those that run are counted where they began.
        """
        endpoints = {
            Destination(is_grpc=False, is_preview=False): self.endpoints,
            Destination(is_grpc=False, is_preview=True): self.preview,
        }
        if self.grpc_streams is not None:
            endpoints[Destination(is_grpc=True, is_preview=False)] = self.grpc_endpoints
            endpoints[Destination(is_grpc=True, is_preview=True)] = self.grpc_preview
        if self.settings.load_balancing is not None:
            endpoints |= {one._replace(is_hashed=True): members for one, members in endpoints.items()}
        return endpoints


class _Placed(NamedTuple):
    """A member in the state in which it is published."""

    route_set: RouteSetId
    member: Member
    state: EndpointState
    is_fallback: bool = False


def refuse_endpoints(traffic: DeploymentTraffic, reach: Reach) -> tuple[DeploymentTraffic, Mapping[str, str]]:
    """Return the traffic without members whose address no replica may have, and why each was refused, by its address.

    What a keeper refuses when a replica starts may be forbidden only later, or stand in a table that others write.
    """
    refusals = {
        f"{member.host}:{port}": why
        for one in traffic.sets
        if one.named_by_revision
        for member in one.members
        for port in member.ports
        if (why := reach.refuse_endpoint(member.host, port))
    }
    if not refusals:
        return traffic, refusals
    sets = tuple(
        one.model_copy(
            update={
                "members": tuple(m for m in one.members if not any(f"{m.host}:{p}" in refusals for p in m.ports)),
            },
        )
        if one.named_by_revision
        else one
        for one in traffic.sets
    )
    return traffic.model_copy(update={"sets": sets}), refusals


def publish(traffic: DeploymentTraffic) -> Publication:
    """Return what routers are told; total over roles and health, ordered by set and address."""
    endpoints: list[_Placed] = []
    preview: list[_Placed] = []
    panic = False
    has_net = any(_can_serve(member) for one in traffic.sets if one.role is SetRole.WARM for member in one.members)
    for route_set in sorted(traffic.sets, key=lambda one: one.route_set):
        match route_set.role:
            case SetRole.LIVE:
                staying = [one for one in route_set.members if not one.terminating and one.leaving_epoch is None]
                drained = bool(staying) or has_net or not route_set.wanted
                out, panics = _without(route_set, staying, has_net=has_net)
                panic = panic or panics
                endpoints += _endpoints(route_set, EndpointState.HEALTHY, without=out, drained=drained)
                preview += _endpoints(route_set, EndpointState.DRAINING)
            case SetRole.WARM:
                warm = _endpoints(route_set, EndpointState.HEALTHY, without=_sick(route_set), drained=True)
                endpoints += [one._replace(is_fallback=True) for one in warm]
                preview += _endpoints(route_set, EndpointState.DRAINING)
            case SetRole.DRAINING:
                endpoints += _endpoints(route_set, EndpointState.DRAINING)
                preview += _endpoints(route_set, EndpointState.DRAINING)
            case SetRole.GREEN:
                endpoints += _endpoints(route_set, EndpointState.UNHEALTHY)
                preview += _endpoints(route_set, EndpointState.HEALTHY, without=_sick(route_set), drained=True)
    return Publication(
        deployment=traffic.deployment,
        epoch=traffic.epoch,
        endpoints=_at(endpoints, lambda member: member.http),
        preview=_at(preview, lambda member: member.http),
        grpc_endpoints=_at(endpoints, lambda member: member.grpc),
        grpc_preview=_at(preview, lambda member: member.grpc),
        serves_http=not traffic.sets or any(one.serves_http for one in traffic.sets),
        grpc_streams=min((one.grpc_streams for one in traffic.sets if one.grpc_streams is not None), default=None),
        panic=panic,
        routed=traffic.routed,
        hosts=traffic.hosts,
        settings=traffic.settings,
    )


def _is_fit(member: Member) -> bool:
    """Whether a member has been healthy, and does not fail its probes now."""
    return member.ready and member.health is not RouteHealthStatus.UNHEALTHY


def _sick(route_set: SetTraffic) -> frozenset[RouteId]:
    """Return members that get nothing; who listens at the address of one that was never healthy is not known yet."""
    return frozenset(one.route for one in route_set.members if not _is_fit(one))


def _can_serve(member: Member) -> bool:
    return _is_fit(member) and not member.terminating and member.leaving_epoch is None


def _without(live: SetTraffic, staying: list[Member], *, has_net: bool) -> tuple[frozenset[RouteId], bool]:
    """Return which live members get nothing because of their health, and whether it is so bad that none is left out.

    With a net under them, members of which none is fit get nothing, and the net gets it all.
    """
    sick = {one.route for one in staying if one.ready and one.health is RouteHealthStatus.UNHEALTHY}
    not_ready = {one.route for one in staying if not one.ready}
    fit = len(staying) - len(sick) - len(not_ready)
    if has_net and not fit:
        return frozenset(sick | not_ready), False
    too_few = fit < MIN_PUBLISHED * live.wanted
    if too_few and staying and (sick or not fit):
        return frozenset(), True
    return frozenset(sick | not_ready), False


def _endpoints(
    route_set: SetTraffic,
    state: EndpointState,
    without: frozenset[RouteId] = frozenset(),
    *,
    drained: bool = False,
) -> list[_Placed]:
    """Members of a set in one state, those ``without`` as unhealthy; with ``drained``, terminating ones as draining.

    Those that leave are draining wherever their set takes requests. The table lets no live set have these alone.
    """

    def state_of(member: Member) -> EndpointState:
        if (drained and member.terminating) or (state is EndpointState.HEALTHY and member.leaving_epoch is not None):
            return EndpointState.DRAINING
        return EndpointState.UNHEALTHY if member.route in without else state

    return [
        _Placed(route_set.route_set, member, state_of(member))
        for member in sorted(route_set.members, key=lambda one: (one.host, one.ports))
    ]


def _at(placed: Iterable[_Placed], port_of: Callable[[Member], int | None]) -> tuple[Endpoint, ...]:
    """Return the endpoints of those members that have a port."""
    return tuple(
        Endpoint(
            route_set=one.route_set,
            host=one.member.host,
            port=port,
            state=one.state,
            is_fallback=one.is_fallback,
            departure=_departure(one.member),
        )
        for one in placed
        if (port := port_of(one.member)) is not None
    )


def _departure(member: Member) -> Departure | None:
    return None if member.leaving_epoch is None else Departure(route=member.route, epoch=member.leaving_epoch)
