"""When a draining set counts as empty on a router."""

from typing import Any

import pytest

from celadon.domain.decisions.publication import SetRole
from celadon.domain.language.names import Epoch, RouteId, RouterNode, RouteSetId
from celadon.gateway.load_reports import (
    DRAIN_INTERVAL,
    IDLE_PLAN,
    Drainee,
    DrainLoad,
    EndpointKey,
    Leaver,
    LoadReport,
    ReportingPlan,
    draining_clusters,
    fold,
    leaving_clusters,
    parse_report,
    plan,
    serialise_plan,
    zeros_count,
)
from celadon.gateway.protobuf import message_class, serialise
from tests.gateway.traffic import BLUE, GREEN, after_switch, before_switch, publication

BOTH = frozenset({"chat", "chat-preview"})
ONE = frozenset({"chat"})
OFTEN = ReportingPlan(DRAIN_INTERVAL)
IN_DETAIL = ReportingPlan(DRAIN_INTERVAL, endpoints=True)
LEAVER = Leaver(RouteId("1"), Epoch(2), GREEN, frozenset({EndpointKey(GREEN, "127.0.0.1", 1)}))


@pytest.mark.parametrize(
    ("before", "reported", "clusters", "counts", "expected"),
    [
        pytest.param(None, {"chat": {}}, ONE, False, DrainLoad(0, 0), id="a zero before it counts"),
        pytest.param(None, {"chat": {}}, ONE, True, DrainLoad(0, 1), id="the first zero that counts"),
        pytest.param(None, {"chat": {BLUE: 0}}, ONE, True, DrainLoad(0, 1), id="a zero that is written out"),
        pytest.param(None, {"chat": {GREEN: 5}}, ONE, True, DrainLoad(0, 1), id="requests of another set"),
        pytest.param(DrainLoad(0, 1), {"chat": {}}, ONE, True, DrainLoad(0, 2), id="a second zero"),
        pytest.param(DrainLoad(3, 0), {"chat": {}}, ONE, True, DrainLoad(0, 1), id="a zero after requests"),
        pytest.param(DrainLoad(0, 5), {"chat": {BLUE: 1}}, ONE, True, DrainLoad(1, 0), id="requests after zeros"),
        pytest.param(None, {}, ONE, True, None, id="a cluster that is missing says nothing"),
        pytest.param(DrainLoad(0, 1), {}, ONE, True, DrainLoad(0, 1), id="nor does it take anything back"),
        pytest.param(DrainLoad(2, 0), {"chat": {}}, BOTH, True, DrainLoad(2, 0), id="zero in one of two clusters"),
        pytest.param(
            DrainLoad(0, 1),
            {"chat": {}, "chat-preview": {}},
            BOTH,
            True,
            DrainLoad(0, 2),
            id="zero in both clusters",
        ),
        pytest.param(
            DrainLoad(0, 1),
            {"chat": {}, "chat-preview": {BLUE: 2}},
            BOTH,
            True,
            DrainLoad(2, 0),
            id="requests in the preview alone",
        ),
        pytest.param(
            DrainLoad(0, 1),
            {"chat-preview": {BLUE: 2}},
            BOTH,
            True,
            DrainLoad(2, 0),
            id="requests although a cluster is missing",
        ),
    ],
)
def test_a_report_is_folded_into_what_is_known(
    before: DrainLoad | None,
    reported: dict[str, dict[RouteSetId, int]],
    clusters: frozenset[str],
    counts: bool,  # noqa: FBT001
    expected: DrainLoad | None,
) -> None:
    report = LoadReport(RouterNode("router"), reported)
    assert fold(before, report, BLUE, clusters, counts=counts) == expected


def test_zeros_count_from_the_connect_timeout_after_the_acknowledgement_on() -> None:
    assert [zeros_count(at, acknowledged_at=10.0) for at in (10.0, 10.99, 11.0, 12.0)] == [False, False, True, True]


def test_the_preview_counts_too_when_it_has_the_set() -> None:
    switched = after_switch(1, [1], [2])
    assert draining_clusters(switched) == {BLUE: BOTH}
    assert draining_clusters(switched.model_copy(update={"preview": ()})) == {BLUE: ONE}
    aborted = publication(1, {(BLUE, SetRole.LIVE): [1], (GREEN, SetRole.DRAINING): [2]})
    assert draining_clusters(aborted) == {GREEN: BOTH}


def test_a_set_of_which_one_member_leaves_does_not_drain() -> None:
    shrinking = publication(1, {(BLUE, SetRole.LIVE): [1, 2]}, leaving={2: 1})
    assert draining_clusters(shrinking) == {}
    assert leaving_clusters(shrinking) == {
        Leaver(RouteId("127.0.0.1:2"), Epoch(1), BLUE, frozenset({EndpointKey(BLUE, "127.0.0.1", 2)})): BOTH,
    }


def test_what_drains_is_counted_on_its_port_for_grpc_too() -> None:
    ports = {1: 11, 2: 12}
    grpc = frozenset({"chat.grpc", "chat-preview.grpc"})
    assert draining_clusters(after_switch(1, [1], [2], grpc=ports)) == {BLUE: BOTH | grpc}
    assert draining_clusters(after_switch(1, [1], [2], grpc={2: 12})) == {BLUE: BOTH}
    shrinking = publication(1, {(BLUE, SetRole.LIVE): [1, 2]}, leaving={2: 1}, grpc=ports)
    assert draining_clusters(shrinking) == {}
    keys = frozenset({EndpointKey(BLUE, "127.0.0.1", 2), EndpointKey(BLUE, "127.0.0.1", 12)})
    leaver = Leaver(RouteId("127.0.0.1:2"), Epoch(1), BLUE, keys)
    assert leaving_clusters(shrinking) == {leaver: BOTH | grpc}
    running = {name: {BLUE: 3} for name in (*BOTH, *grpc)}
    ascribed = {"chat.grpc": {EndpointKey(BLUE, "127.0.0.1", 12): 2, EndpointKey(BLUE, "127.0.0.1", 11): 1}}
    counted = LoadReport(RouterNode("router"), running, ascribed)
    assert (counted.running_on("chat.grpc", leaver), counted.running_on("chat", leaver)) == (2, 3)


def test_nothing_drains_before_the_switch() -> None:
    assert draining_clusters(before_switch(1, [1], [2])) == {}


@pytest.mark.parametrize(
    ("draining", "expected"),
    [
        pytest.param([], IDLE_PLAN, id="nothing drains"),
        pytest.param([(BLUE, None)], OFTEN, id="unknown"),
        pytest.param([(BLUE, DrainLoad(1, 0))], OFTEN, id="running"),
        pytest.param([(BLUE, DrainLoad(0, 1))], OFTEN, id="one zero"),
        pytest.param([(BLUE, DrainLoad(0, 2))], IDLE_PLAN, id="empty"),
        pytest.param([(BLUE, DrainLoad(0, 2)), (GREEN, DrainLoad(4, 0))], OFTEN, id="another is not empty"),
        pytest.param([(LEAVER, None), (BLUE, None)], IN_DETAIL, id="a member leaves"),
        pytest.param([(LEAVER, DrainLoad(0, 2)), (BLUE, None)], OFTEN, id="a member has left"),
    ],
)
def test_a_router_reports_often_only_while_something_may_run(
    draining: list[tuple[Drainee, DrainLoad | None]],
    expected: ReportingPlan,
) -> None:
    assert plan(draining) == expected


@pytest.mark.parametrize("asked", [IDLE_PLAN, OFTEN, IN_DETAIL])
def test_a_router_is_asked_for_all_clusters_whatever_drains(asked: ReportingPlan) -> None:
    sent: Any = message_class("envoy.service.load_stats.v3.LoadStatsResponse").FromString(serialise_plan(asked))
    assert (sent.send_all_clusters, list(sent.clusters)) == (True, [])
    assert sent.load_reporting_interval.ToTimedelta() == asked.interval
    assert sent.report_endpoint_granularity is asked.endpoints


def test_a_report_is_read_by_cluster_and_set() -> None:
    wire = serialise(
        "envoy.service.load_stats.v3.LoadStatsRequest",
        {
            "node": {"id": "router"},
            "cluster_stats": [
                {
                    "cluster_name": "chat",
                    "upstream_locality_stats": [
                        {
                            "locality": {"zone": "set-1"},
                            "total_requests_in_progress": 3,
                            "upstream_endpoint_stats": [
                                {
                                    "address": {"socket_address": {"address": "0:0::1", "port_value": 9000}},
                                    "total_requests_in_progress": 3,
                                },
                            ],
                        },
                        {"locality": {}, "total_requests_in_progress": 2},
                    ],
                },
                {"cluster_name": "other"},
            ],
        },
    )
    assert parse_report(wire) == LoadReport(
        RouterNode("router"),
        {"chat": {BLUE: 3}, "other": {}},
        {"chat": {EndpointKey.of(BLUE, "::1", 9000): 3}},
    )
