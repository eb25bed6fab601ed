"""When a draining set is empty on a router, decided from that router's load reports.

A router counts running requests exactly, but some zeros mean something else: a report from before the router served
the draining set, a request that still waits for its connection, a cluster that the report leaves out. So zeros count
only from the router's acknowledgement plus the connect timeout on, and only when every cluster that has the set's
endpoints is in the report. What is not known is never counted as zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol, cast

from celadon.domain.drain import ENOUGH_ZERO_REPORTS
from celadon.domain.names import RouterNode, RouteSetId
from celadon.domain.publication import EndpointState, Publication
from celadon.gateway.protobuf import Fields, message_class, serialise
from celadon.gateway.resources import CONNECT_TIMEOUT, preview_cluster, route_set_of

SERVICE: Final = "envoy.service.load_stats.v3.LoadReportingService"
METHOD: Final = "StreamLoadStats"

IDLE_INTERVAL: Final = timedelta(seconds=1)
DRAIN_INTERVAL: Final = timedelta(milliseconds=100)
"""How often a router reports while a set may have requests there; a report has some 60 KB."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The running requests of one router by cluster and set; nothing is known of a cluster that is left out."""

    node: RouterNode
    running: Mapping[str, Mapping[RouteSetId, int]]


@dataclass(frozen=True, slots=True)
class DrainLoad:
    """What a router's reports say of a draining set."""

    running: int
    zero_reports: int
    """Reports of zero in a row that count."""


@dataclass(frozen=True, slots=True)
class ReportingPlan:
    """What a router is asked to report, and how often."""

    interval: timedelta
    clusters: frozenset[str] = frozenset()
    """Only these clusters; all when empty."""


IDLE_PLAN: Final = ReportingPlan(IDLE_INTERVAL)


def draining_clusters(publication: Publication) -> dict[RouteSetId, frozenset[str]]:
    """Return, for each draining set of a deployment, the clusters that have its endpoints."""
    previewed = {endpoint.route_set for endpoint in publication.preview}
    live, preview = publication.deployment, preview_cluster(publication.deployment)
    return {
        endpoint.route_set: frozenset({live, preview} if endpoint.route_set in previewed else {live})
        for endpoint in publication.endpoints
        if endpoint.state is EndpointState.DRAINING
    }


def zeros_count(at: float, acknowledged_at: float) -> bool:
    """Whether a zero reported at this moment means that no request runs or waits (moments in seconds, one clock)."""
    return at >= acknowledged_at + CONNECT_TIMEOUT.total_seconds()


def fold(
    before: DrainLoad | None,
    report: LoadReport,
    route_set: RouteSetId,
    clusters: frozenset[str],
    *,
    counts: bool,
) -> DrainLoad | None:
    """Return what is known of a draining set after one more report; ``None`` while nothing is.

    Args:
        before: what was known before the report.
        report: the report of one router.
        route_set: the draining set.
        clusters: all clusters that have its endpoints.
        counts: whether a zero counts yet, see :func:`zeros_count`.

    """
    running = sum(report.running.get(cluster, {}).get(route_set, 0) for cluster in clusters)
    if running:
        return DrainLoad(running, 0)
    if not clusters <= report.running.keys():
        return before
    zero_reports = before.zero_reports if before is not None else 0
    return DrainLoad(0, zero_reports + 1 if counts else 0)


def plan(draining: Iterable[tuple[DrainLoad | None, frozenset[str]]]) -> ReportingPlan:
    """Return what to ask of a router: often, and only what matters, while a set may have requests there."""
    watched: frozenset[str] = frozenset()
    for load, clusters in draining:
        if load is None or load.zero_reports < ENOUGH_ZERO_REPORTS:
            watched |= clusters
    return ReportingPlan(DRAIN_INTERVAL, watched) if watched else IDLE_PLAN


class _Locality(Protocol):
    zone: str


class _LocalityStats(Protocol):
    locality: _Locality
    total_requests_in_progress: int


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
    for cluster in request.cluster_stats:
        sets = running.setdefault(cluster.cluster_name, {})
        for stats in cluster.upstream_locality_stats:
            route_set = route_set_of(stats.locality.zone)
            if route_set is not None:
                sets[route_set] = sets.get(route_set, 0) + stats.total_requests_in_progress
    return LoadReport(RouterNode(request.node.id), running)


def serialise_plan(asked: ReportingPlan) -> bytes:
    """Return a plan as the response that a router takes it from."""
    fields: Fields = {"load_reporting_interval": asked.interval}
    which: Fields = {"clusters": sorted(asked.clusters)} if asked.clusters else {"send_all_clusters": True}
    return serialise("envoy.service.load_stats.v3.LoadStatsResponse", {**fields, **which})
