"""What routers are told of a deployment: a pure function of its sets and their members.

The rule for members that fail their probes is ``min_published`` (the fail-open rule of Envoy's panic threshold and
of Amazon's target groups): an unhealthy live member leaves only while at least half of the wanted members stay, and a
live set is never published empty because of its health. A live member that was never healthy, such as one that takes
the place of another and still loads its weights, gets nothing while any other can serve. A live member that terminates
gets no new request, as long as another member stays, and one that leaves because fewer are wanted never gets any.
"""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.names import DeploymentName, Epoch, RouteId, RouteSetId
from celadon.domain.language.states import RouteHealthStatus

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
    leaving_epoch: Epoch | None = None
    """Since when it leaves a set that stays; it gets no new request."""
    ready: bool = True
    """Whether it has ever been healthy."""


class SetTraffic(BaseModel):
    """A set that is open or draining, with its running and terminating members."""

    model_config = ConfigDict(frozen=True)

    route_set: RouteSetId
    role: SetRole
    wanted: int
    members: tuple[Member, ...]
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
    departure: Departure | None = None
    """Of a member that leaves: its running requests are counted by themselves."""


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
    routed: bool = True
    """False once the deployment is being deleted: routers lose their route to it before its endpoints drain."""
    hosts: tuple[str, ...] = ()
    """Host names of its own, in small letters, beside those that are made of its name."""


def refuse_endpoints(traffic: DeploymentTraffic, reach: Reach) -> tuple[DeploymentTraffic, Mapping[str, str]]:
    """Return the traffic without members whose address no replica may have, and why each was refused, by its address.

    What a keeper refuses when a replica starts may be forbidden only later, or stand in a table that others write.
    """
    refusals = {
        f"{member.host}:{member.port}": why
        for one in traffic.sets
        if one.named_by_revision
        for member in one.members
        if (why := reach.refuse_endpoint(member.host, member.port))
    }
    if not refusals:
        return traffic, refusals
    sets = tuple(
        one.model_copy(
            update={"members": tuple(m for m in one.members if f"{m.host}:{m.port}" not in refusals)},
        )
        if one.named_by_revision
        else one
        for one in traffic.sets
    )
    return traffic.model_copy(update={"sets": sets}), refusals


def publish(traffic: DeploymentTraffic) -> Publication:
    """Return what routers are told; total over roles and health, ordered by set and address."""
    endpoints: list[Endpoint] = []
    preview: list[Endpoint] = []
    panic = False
    for route_set in sorted(traffic.sets, key=lambda one: one.route_set):
        match route_set.role:
            case SetRole.LIVE:
                staying = [one for one in route_set.members if not one.terminating and one.leaving_epoch is None]
                drained = bool(staying) or not route_set.wanted
                out, panics = _without(route_set, staying)
                panic = panic or panics
                endpoints += _endpoints(route_set, EndpointState.HEALTHY, without=out, drained=drained)
                preview += _endpoints(route_set, EndpointState.DRAINING)
            case SetRole.DRAINING:
                endpoints += _endpoints(route_set, EndpointState.DRAINING)
                preview += _endpoints(route_set, EndpointState.DRAINING)
            case SetRole.GREEN:
                endpoints += _endpoints(route_set, EndpointState.UNHEALTHY)
                # Who listens at the address of a member that was never healthy is not known yet.
                sick = frozenset(
                    m.route for m in route_set.members if m.health is RouteHealthStatus.UNHEALTHY or not m.ready
                )
                preview += _endpoints(route_set, EndpointState.HEALTHY, without=sick, drained=True)
    return Publication(
        deployment=traffic.deployment,
        epoch=traffic.epoch,
        endpoints=tuple(endpoints),
        preview=tuple(preview),
        panic=panic,
        routed=traffic.routed,
        hosts=traffic.hosts,
    )


def _without(live: SetTraffic, staying: list[Member]) -> tuple[frozenset[RouteId], bool]:
    """Return which live members get nothing because of their health, and whether it is so bad that none is left out."""
    sick = {one.route for one in staying if one.ready and one.health is RouteHealthStatus.UNHEALTHY}
    not_ready = {one.route for one in staying if not one.ready}
    fit = len(staying) - len(sick) - len(not_ready)
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
) -> list[Endpoint]:
    """Members of a set in one state, those ``without`` as unhealthy; with ``drained``, terminating ones as draining.

    Those that leave are draining wherever their set takes requests. The table lets no live set have these alone.
    """

    def state_of(member: Member) -> EndpointState:
        if (drained and member.terminating) or (state is EndpointState.HEALTHY and member.leaving_epoch is not None):
            return EndpointState.DRAINING
        return EndpointState.UNHEALTHY if member.route in without else state

    return [
        Endpoint(
            route_set=route_set.route_set,
            host=member.host,
            port=member.port,
            state=state_of(member),
            departure=_departure(member),
        )
        for member in sorted(route_set.members, key=lambda one: (one.host, one.port))
    ]


def _departure(member: Member) -> Departure | None:
    return None if member.leaving_epoch is None else Departure(route=member.route, epoch=member.leaving_epoch)
