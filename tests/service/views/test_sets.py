"""What people are shown of a set of replicas."""

from datetime import timedelta

import pytest

from celadon.domain.language.states import Colour, RouteHealthStatus, RouteSetState, RouteStatus
from celadon.service.command import Tone
from celadon.service.views.phrases import WHOLE, Room
from celadon.service.views.sets import SetDetail, set_detail, without_output
from celadon.table.records.deployments import LoadView, SetView
from tests.sample_views import NOW
from tests.service.views.records import colour, failure, replica

TIMES = "\N{MULTIPLICATION SIGN}"


def detail(one: SetView, room: Room = WHOLE, *, under_way: bool = True) -> SetDetail:
    return set_detail(one, room, under_way=under_way, tells_output=True)


def test_both_colours_say_what_traffic_they_get() -> None:
    blue, green = detail(colour(Colour.BLUE, is_live=True)), detail(colour(Colour.GREEN, is_live=False))

    assert (blue.colour, blue.revision, blue.traffic.text) == ("blue", "r1", "takes traffic")
    assert (green.colour, green.revision, green.traffic.text) == ("green", "r2", "no traffic")


def test_what_is_live_after_the_rollout_has_no_colour_any_more() -> None:
    assert detail(colour(Colour.GREEN, is_live=True), under_way=False).colour == "live"


def test_a_sick_replica_shows_its_error() -> None:
    sick = replica(8001, RouteHealthStatus.UNHEALTHY, "GET /health: answered 500")

    shown = detail(colour(Colour.GREEN, is_live=False, replicas=(sick, replica(8002))))

    assert [(one.mark, one.state, one.error) for one in shown.replicas] == [
        ("✘", "running, unhealthy", "GET /health: answered 500"),
        ("✔", "running, healthy", ""),
    ]


def test_a_replica_shows_its_other_ports_by_name() -> None:
    one = replica(8001, other_ports={"grpc": 8002, "metrics": 8003})

    (shown,) = detail(colour(Colour.GREEN, is_live=False, replicas=(one,))).replicas

    assert shown.address == "127.0.0.1:8001, grpc 8002, metrics 8003"


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (RouteStatus.PROVISIONING, RouteHealthStatus.NOT_CHECKED),
        (RouteStatus.RUNNING, RouteHealthStatus.NOT_CHECKED),
        (RouteStatus.RUNNING, RouteHealthStatus.UNHEALTHY),
    ],
)
def test_a_replica_starts_until_it_was_healthy_once(status: RouteStatus, health: RouteHealthStatus) -> None:
    one = replica(8001, health, status=status, started_at=None, ready_at=None, created_at=NOW - timedelta(seconds=23))

    (shown,) = detail(colour(Colour.GREEN, is_live=False, replicas=(one,))).replicas

    assert (shown.state, shown.tone, NOW - shown.since) == ("starting", Tone.WARN, timedelta(seconds=23))


def test_replicas_that_are_not_shown_are_counted_and_sick_ones_stay() -> None:
    sick = replica(8009, RouteHealthStatus.UNHEALTHY, "refused")
    green = colour(Colour.GREEN, is_live=False, replicas=(*(replica(8000 + number) for number in range(5)), sick))

    shown = detail(green, Room(replicas=2))

    assert [one.address for one in shown.replicas] == ["127.0.0.1:8000", "127.0.0.1:8009"]
    assert shown.more == 4


@pytest.mark.parametrize(
    ("running", "told"),
    [((3, 4), "7"), ((3, None), "unknown"), ((), "unknown")],
    ids=["all report", "one is silent", "no router"],
)
def test_running_requests_are_counted_only_when_all_routers_report(
    running: tuple[int | None, ...],
    told: str,
) -> None:
    load = tuple(LoadView(router=f"edge-{n}", running=count, reported_at=NOW) for n, count in enumerate(running))

    drain = detail(colour(Colour.BLUE, is_live=False, state=RouteSetState.DRAINING, load=load)).drain

    assert drain is not None
    assert drain.running == told


def test_replicas_that_failed_alike_are_told_by_the_newest() -> None:
    failures = (
        failure(8003, "exited with code 1", "newest"),
        failure(8002, "exited with code 1", "older"),
        failure(8001, "no such file", ""),
    )

    shown = detail(colour(Colour.GREEN, is_live=False, failures=failures)).failures

    assert [(one.title.split(" ")[1], one.output) for one in shown] == [("8003", ("newest",)), ("8001", ())]


def test_output_is_cut_at_lines() -> None:
    output = "…d of a line that was cut\n" + "\n".join(f"line {number}" for number in range(3))

    (shown,) = detail(colour(Colour.GREEN, is_live=False, failures=(failure(8001, "exited", output),))).failures

    assert shown.output == ("line 0", "line 1", "line 2")


def test_only_the_last_lines_are_shown() -> None:
    output = "\n".join(f"line {number}" for number in range(9))

    (shown,) = detail(
        colour(Colour.GREEN, is_live=False, failures=(failure(8001, "exited", output),)), Room(output_lines=2)
    ).failures

    assert shown.output == ("line 7", "line 8")


@pytest.mark.parametrize(
    ("causes", "told"),
    [
        ("exited with code 1: OOM", "exited with code 1"),
        (f"exited with code 1: OOM; again ({TIMES}2)", f"exited with code 1 ({TIMES}2)"),
        (f"exited with code 1: OOM ({TIMES}2); answered 503: loading", f"exited with code 1 ({TIMES}2); answered 503"),
        ("green failed: answered 503: loading", "green failed: answered 503"),
        (f"answered 503 ({TIMES}3); exited with code 1", f"answered 503 ({TIMES}3); exited with code 1"),
        ("something else: as it is", "something else: as it is"),
    ],
)
def test_causes_are_told_without_what_was_printed(causes: str, told: str) -> None:
    assert without_output(causes, ("exited with code 1", "answered 503")) == told
