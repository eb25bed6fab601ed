"""When a draining set, or a member that leaves its set, is empty on a router: decided from that router's load reports.

A router counts running requests exactly, but some zeros mean something else: a report from before the router served
the draining set, a request that still waits for its connection, a cluster that the report leaves out. So zeros count
only from the router's acknowledgement plus the connect timeout on, and only when every cluster that has the set's
endpoints is in the report. What is not known is never counted as zero: requests of a set that the report ascribes to
none of its endpoints count for each of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from typing import Final, Protocol, TypeAlias, cast

from celadon.domain.decisions.drain import ENOUGH_ZERO_REPORTS
from celadon.domain.decisions.publication import Departure, EndpointState, Publication
from celadon.domain.language.names import Epoch, RouteId, RouterNode, RouteSetId
from celadon.gateway.protobuf import Fields, message_class, serialise
from celadon.gateway.resources import CONNECT_TIMEOUT, cluster_name, route_set_of

SERVICE: Final = "envoy.service.load_stats.v3.LoadReportingService"
METHOD: Final = "StreamLoadStats"

IDLE_INTERVAL: Final = timedelta(seconds=1)
DRAIN_INTERVAL: Final = timedelta(milliseconds=200)
"""How often a router reports while a set may have requests there.

A report has all clusters: some 60 KB, and 35 bytes more for each cluster.
"""


@dataclass(frozen=True, slots=True)
class EndpointKey:
    """One endpoint as load reports name it."""

    route_set: RouteSetId
    host: str
    port: int

    @classmethod
    def of(cls, route_set: RouteSetId, host: str, port: int) -> "EndpointKey":
        """Return the key of an address, however the address is written."""
        try:
            return cls(route_set, ip_address(host).compressed, port)
        except ValueError:
            return cls(route_set, host, port)


@dataclass(frozen=True, slots=True)
class Leaver:
    """One departure of one member from a set that stays."""

    route: RouteId
    epoch: Epoch
    """From this epoch on the member gets no new request."""
    route_set: RouteSetId
    endpoints: frozenset[EndpointKey]
    """One for each port that gets requests."""


Drainee: TypeAlias = RouteSetId | Leaver
"""What drains: a whole set, or one member of a set that stays."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The running requests of one router by cluster and set; nothing is known of a cluster that is left out."""

    node: RouterNode
    running: Mapping[str, Mapping[RouteSetId, int]]
    endpoints: Mapping[str, Mapping[EndpointKey, int]] = field(default_factory=dict)
    """The same by cluster and endpoint, when the router was asked for that."""
    issued: Mapping[str, Mapping[RouteSetId, int]] = field(default_factory=dict)
    """Attempts that began since the report before it, by cluster and set; a request that is tried again has several."""

    def running_on(self, cluster: str, drainee: Drainee) -> int:
        """Return the requests that run in a cluster on a set, or on a member: its own and those of nobody known."""
        sets = self.running.get(cluster, {})
        if not isinstance(drainee, Leaver):
            return sets.get(drainee, 0)
        endpoints = self.endpoints.get(cluster, {})
        route_set = drainee.route_set
        ascribed = sum(running for key, running in endpoints.items() if key.route_set == route_set)
        own = sum(running for key, running in endpoints.items() if key in drainee.endpoints)
        return own + max(0, sets.get(route_set, 0) - ascribed)


@dataclass(frozen=True, slots=True)
class DrainLoad:
    """What a router's reports say of what drains."""

    running: int
    zero_reports: int
    """Reports of zero in a row that count."""


@dataclass(frozen=True, slots=True)
class ReportingPlan:
    """How often a router is asked to report, and in which detail; it reports all clusters always.

    A router that is asked for other clusters than before forgets what it has counted of those that are left out.
    """

    interval: timedelta
    endpoints: bool = False
    """Whether endpoints are told apart."""


IDLE_PLAN: Final = ReportingPlan(IDLE_INTERVAL)


def draining_clusters(publication: Publication) -> dict[RouteSetId, frozenset[str]]:
    """Return, for each draining set of a deployment, the clusters that have its endpoints.

    A set of which only some members drain may still get requests, so it does not drain itself.
    """
    clusters: defaultdict[RouteSetId, set[str]] = defaultdict(set)
    not_drained: set[RouteSetId] = set()
    for destination, endpoints in publication.destinations.items():
        for endpoint in endpoints:
            clusters[endpoint.route_set].add(cluster_name(publication.deployment, destination))
            if endpoint.state is not EndpointState.DRAINING and not destination.is_preview:
                not_drained.add(endpoint.route_set)
    return {one: frozenset(names) for one, names in clusters.items() if one not in not_drained}


def leaving_clusters(publication: Publication) -> dict[Leaver, frozenset[str]]:
    """Return, for each member of a deployment that leaves its set, the clusters that have its endpoint."""
    clusters: defaultdict[tuple[Departure, RouteSetId], set[str]] = defaultdict(set)
    keys: defaultdict[tuple[Departure, RouteSetId], set[EndpointKey]] = defaultdict(set)
    for destination, endpoints in publication.destinations.items():
        for endpoint in endpoints:
            if endpoint.departure is not None:
                leaver = (endpoint.departure, endpoint.route_set)
                clusters[leaver].add(cluster_name(publication.deployment, destination))
                keys[leaver].add(EndpointKey.of(endpoint.route_set, endpoint.host, endpoint.port))
    return {
        Leaver(departure.route, departure.epoch, route_set, frozenset(keys[departure, route_set])): frozenset(names)
        for (departure, route_set), names in clusters.items()
    }


def route_set_of_drainee(drainee: Drainee) -> RouteSetId:
    """Return the set that drains, or that a member leaves."""
    return drainee.route_set if isinstance(drainee, Leaver) else drainee


def zeros_count(at: float, acknowledged_at: float) -> bool:
    """Whether a zero reported at this moment means that no request runs or waits (moments in seconds, one clock)."""
    return at >= acknowledged_at + CONNECT_TIMEOUT.total_seconds()


def fold(
    before: DrainLoad | None,
    report: LoadReport,
    drainee: Drainee,
    clusters: frozenset[str],
    *,
    counts: bool,
) -> DrainLoad | None:
    """Return what is known of what drains after one more report; ``None`` while nothing is.

    Args:
        before: what was known before the report.
        report: the report of one router.
        drainee: what drains.
        clusters: all clusters that have its endpoints.
        counts: whether a zero counts yet, see :func:`zeros_count`.

    """
    running = sum(report.running_on(cluster, drainee) for cluster in clusters)
    if running:
        return DrainLoad(running, 0)
    if not clusters <= report.running.keys():
        return before
    zero_reports = before.zero_reports if before is not None else 0
    return DrainLoad(0, zero_reports + 1 if counts else 0)


def plan(draining: Iterable[tuple[Drainee, DrainLoad | None]]) -> ReportingPlan:
    """Return what to ask of a router: often while what drains may have requests there."""
    watched = [drainee for drainee, load in draining if load is None or load.zero_reports < ENOUGH_ZERO_REPORTS]
    if not watched:
        return IDLE_PLAN
    return ReportingPlan(DRAIN_INTERVAL, endpoints=any(isinstance(drainee, Leaver) for drainee in watched))


class _Locality(Protocol):
    zone: str


class _SocketAddress(Protocol):
    address: str
    port_value: int


class _Address(Protocol):
    socket_address: _SocketAddress


class _EndpointStats(Protocol):
    address: _Address
    total_requests_in_progress: int


class _LocalityStats(Protocol):
    locality: _Locality
    total_requests_in_progress: int
    total_issued_requests: int
    upstream_endpoint_stats: Sequence[_EndpointStats]


class _ClusterStats(Protocol):
    cluster_name: str
    upstream_locality_stats: Sequence[_LocalityStats]


class _Node(Protocol):
    id: str


class _LoadStatsRequest(Protocol):
    node: _Node
    cluster_stats: Sequence[_ClusterStats]


def parse_report(wire: bytes) -> LoadReport:
    """Return a report; raises ``DecodeError`` for bytes that are none."""
    request = cast("_LoadStatsRequest", message_class("envoy.service.load_stats.v3.LoadStatsRequest").FromString(wire))
    running: dict[str, dict[RouteSetId, int]] = {}
    issued: defaultdict[str, dict[RouteSetId, int]] = defaultdict(dict)
    endpoints: dict[str, dict[EndpointKey, int]] = {}
    for cluster in request.cluster_stats:
        sets = running.setdefault(cluster.cluster_name, {})
        for stats in cluster.upstream_locality_stats:
            route_set = route_set_of(stats.locality.zone)
            if route_set is None:
                continue
            sets[route_set] = sets.get(route_set, 0) + stats.total_requests_in_progress
            if stats.total_issued_requests:
                begun = issued[cluster.cluster_name]
                begun[route_set] = begun.get(route_set, 0) + stats.total_issued_requests
            for one in stats.upstream_endpoint_stats:
                address = one.address.socket_address
                key = EndpointKey.of(route_set, address.address, address.port_value)
                of_cluster = endpoints.setdefault(cluster.cluster_name, {})
                of_cluster[key] = of_cluster.get(key, 0) + one.total_requests_in_progress
    return LoadReport(RouterNode(request.node.id), running, endpoints, issued)


def serialise_plan(asked: ReportingPlan) -> bytes:
    """Return a plan as the response that a router takes it from."""
    fields: Fields = {
        "send_all_clusters": True,
        "load_reporting_interval": asked.interval,
        "report_endpoint_granularity": asked.endpoints,
    }
    return serialise("envoy.service.load_stats.v3.LoadStatsResponse", fields)
