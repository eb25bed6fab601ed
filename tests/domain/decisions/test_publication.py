"""What routers are told of a deployment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.publication import (
    MIN_PUBLISHED,
    Departure,
    DeploymentTraffic,
    EndpointState,
    Member,
    Publication,
    SetRole,
    SetTraffic,
    publish,
    refuse_endpoints,
)
from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.names import Epoch, RouteId, RouteSetId
from celadon.domain.language.states import RouteHealthStatus

NOT_CHECKED, HEALTHY = RouteHealthStatus.NOT_CHECKED, RouteHealthStatus.HEALTHY
UNHEALTHY, DEGRADED = RouteHealthStatus.UNHEALTHY, RouteHealthStatus.DEGRADED
IN, OUT, LEAVING = EndpointState.HEALTHY, EndpointState.UNHEALTHY, EndpointState.DRAINING


def a_set(
    role: SetRole,
    *health: RouteHealthStatus,
    wanted: int | None = None,
    terminating: int = 0,
    number: int = 1,
) -> SetTraffic:
    """Return a set with one member for each of ``health``, the last ``terminating`` of which are being stopped."""
    return SetTraffic(
        route_set=RouteSetId(number),
        role=role,
        wanted=len(health) if wanted is None else wanted,
        members=tuple(
            Member(
                route=RouteId(f"{number}-{index}"),
                host="127.0.0.1",
                http=1000 * number + index,
                health=one,
                terminating=index >= len(health) - terminating,
            )
            for index, one in enumerate(health)
        ),
    )


def published(*sets: SetTraffic) -> Publication:
    return publish(DeploymentTraffic(deployment="chat", epoch=Epoch(5), sets=sets))


WARM = SetRole.WARM


def fallbacks(publication: Publication) -> list[tuple[int, EndpointState]]:
    return [(one.route_set, one.state) for one in publication.endpoints if one.is_fallback]


def states(publication: Publication, number: int = 1) -> list[EndpointState]:
    return [endpoint.state for endpoint in publication.endpoints if endpoint.route_set == number]


@pytest.mark.parametrize(
    ("health", "wanted", "expected", "panic"),
    [
        ((HEALTHY, HEALTHY, HEALTHY), 3, [IN, IN, IN], False),
        ((HEALTHY, HEALTHY, UNHEALTHY), 3, [IN, IN, OUT], False),
        ((HEALTHY, UNHEALTHY, UNHEALTHY), 3, [IN, IN, IN], True),
        ((UNHEALTHY, UNHEALTHY, UNHEALTHY), 3, [IN, IN, IN], True),
        ((HEALTHY, UNHEALTHY), 2, [IN, OUT], False),
        ((UNHEALTHY,), 1, [IN], True),
        ((DEGRADED, DEGRADED, DEGRADED), 3, [IN, IN, IN], False),
        ((NOT_CHECKED, NOT_CHECKED), 2, [IN, IN], False),
        ((HEALTHY, UNHEALTHY), 4, [IN, IN], True),
        ((HEALTHY, HEALTHY, UNHEALTHY), 4, [IN, IN, OUT], False),
        ((UNHEALTHY,), 0, [OUT], False),
        ((), 3, [], False),
    ],
)
def test_an_unhealthy_live_member_leaves_while_half_of_the_wanted_stay(
    health: tuple[RouteHealthStatus, ...],
    wanted: int,
    expected: list[EndpointState],
    *,
    panic: bool,
) -> None:
    publication = published(a_set(SetRole.LIVE, *health, wanted=wanted))

    assert states(publication) == expected
    assert publication.panic is panic


@pytest.mark.parametrize(
    ("others", "expected", "panic"),
    [
        ((HEALTHY, HEALTHY), [IN, IN, OUT, OUT, OUT, OUT], False),
        ((DEGRADED,), [IN, OUT, OUT, OUT, OUT], False),
        ((HEALTHY, HEALTHY, UNHEALTHY), [IN, IN, OUT, OUT, OUT, OUT, OUT], False),
        ((HEALTHY, UNHEALTHY), [IN, IN, IN, IN, IN, IN], True),
        ((UNHEALTHY,), [IN, IN, IN, IN, IN], True),
        ((), [IN, IN, IN, IN], True),
    ],
)
def test_a_live_member_that_was_never_healthy_gets_nothing_while_another_can_serve(
    others: tuple[RouteHealthStatus, ...],
    expected: list[EndpointState],
    *,
    panic: bool,
) -> None:
    traffic = a_set(SetRole.LIVE, *others, NOT_CHECKED, NOT_CHECKED, UNHEALTHY, UNHEALTHY, wanted=4)
    members = (
        member.model_copy(update={"ready": position < len(others)}) for position, member in enumerate(traffic.members)
    )

    publication = published(traffic.model_copy(update={"members": tuple(members)}))

    assert states(publication) == expected
    assert publication.panic is panic


def test_a_live_member_that_is_being_stopped_gets_no_new_request() -> None:
    publication = published(a_set(SetRole.LIVE, HEALTHY, HEALTHY, HEALTHY, wanted=2, terminating=1))

    assert states(publication) == [IN, IN, LEAVING]


def test_a_member_that_is_being_stopped_does_not_count_as_one_that_stays() -> None:
    publication = published(a_set(SetRole.LIVE, HEALTHY, UNHEALTHY, UNHEALTHY, HEALTHY, wanted=3, terminating=1))

    assert states(publication) == [IN, IN, IN, LEAVING]
    assert publication.panic


def test_when_all_live_members_are_being_stopped_they_stay_published() -> None:
    assert states(published(a_set(SetRole.LIVE, HEALTHY, HEALTHY, terminating=2))) == [IN, IN]


@pytest.mark.parametrize("health", list(RouteHealthStatus))
def test_a_draining_member_is_never_given_new_requests(health: RouteHealthStatus) -> None:
    publication = published(a_set(SetRole.DRAINING, health, health, terminating=1))

    assert states(publication) == [LEAVING, LEAVING]
    assert [endpoint.state for endpoint in publication.preview] == [LEAVING, LEAVING]


@pytest.mark.parametrize(
    ("health", "preview"),
    [(HEALTHY, IN), (DEGRADED, IN), (NOT_CHECKED, IN), (UNHEALTHY, OUT)],
)
def test_green_is_known_to_routers_but_only_previews_reach_it(
    health: RouteHealthStatus,
    preview: EndpointState,
) -> None:
    publication = published(a_set(SetRole.GREEN, health))

    assert states(publication) == [OUT]
    assert [endpoint.state for endpoint in publication.preview] == [preview]
    assert publication.panic is False


@pytest.mark.parametrize("role", [SetRole.LIVE, SetRole.DRAINING])
def test_what_is_no_green_gets_no_preview_but_is_still_counted(role: SetRole) -> None:
    publication = published(a_set(role, HEALTHY, UNHEALTHY))

    assert [endpoint.state for endpoint in publication.preview] == [LEAVING, LEAVING]


def test_a_green_member_that_is_being_stopped_gets_no_preview() -> None:
    publication = published(a_set(SetRole.GREEN, HEALTHY, HEALTHY, terminating=1))

    assert [endpoint.state for endpoint in publication.preview] == [IN, LEAVING]


def test_a_switch_changes_states_alone() -> None:
    before = published(a_set(SetRole.LIVE, HEALTHY), a_set(SetRole.GREEN, HEALTHY, number=2))
    after = published(a_set(SetRole.DRAINING, HEALTHY), a_set(SetRole.LIVE, HEALTHY, number=2))

    assert [endpoint.state for endpoint in before.endpoints] == [IN, OUT]
    assert [endpoint.state for endpoint in after.endpoints] == [LEAVING, IN]
    assert [(one.route_set, one.port) for one in before.endpoints] == [(o.route_set, o.port) for o in after.endpoints]


def test_endpoints_are_told_in_one_order_whatever_the_tables() -> None:
    sets = [a_set(SetRole.LIVE, HEALTHY, HEALTHY), a_set(SetRole.GREEN, HEALTHY, HEALTHY, number=2)]
    turned = [one.model_copy(update={"members": one.members[::-1]}) for one in reversed(sets)]

    assert published(*sets) == published(*turned)


def test_the_epoch_goes_with_what_is_published() -> None:
    publication = published()

    assert (publication.deployment, publication.epoch, publication.endpoints) == ("chat", 5, ())


_live_sets = st.builds(
    lambda health, wanted, terminating: a_set(SetRole.LIVE, *health, wanted=wanted, terminating=terminating),
    st.lists(st.sampled_from(RouteHealthStatus), max_size=8),
    st.integers(min_value=1, max_value=8),
    st.integers(min_value=0, max_value=8),
)


@given(_live_sets)
def test_a_live_set_with_members_is_never_published_empty(live: SetTraffic) -> None:
    publication = published(live)

    assert not live.members or IN in states(publication)


@given(_live_sets)
def test_health_never_takes_a_live_set_below_half_of_the_wanted(live: SetTraffic) -> None:
    staying = [member for member in live.members if not member.terminating]
    taken = [state for state in states(published(live)) if state is OUT]

    assert not taken or len(staying) - len(taken) >= MIN_PUBLISHED * live.wanted


@given(_live_sets)
def test_a_healthy_live_member_that_stays_is_always_published(live: SetTraffic) -> None:
    by_port = {endpoint.port: endpoint.state for endpoint in published(live).endpoints}

    for member in live.members:
        if member.health is not UNHEALTHY and not member.terminating:
            assert by_port[member.ports[0]] is IN


@given(st.sampled_from(SetRole), st.lists(st.sampled_from(RouteHealthStatus), max_size=8))
def test_no_member_is_left_out_of_what_routers_are_told(role: SetRole, health: list[RouteHealthStatus]) -> None:
    assert len(published(a_set(role, *health)).endpoints) == len(health)


def leaving(traffic: SetTraffic, *places: int) -> SetTraffic:
    """Return a set of which some members leave from epoch 4 on."""
    return traffic.model_copy(
        update={
            "members": tuple(
                one.model_copy(update={"leaving_epoch": Epoch(4)}) if place in places else one
                for place, one in enumerate(traffic.members)
            ),
        },
    )


@pytest.mark.parametrize("health", list(RouteHealthStatus))
@pytest.mark.parametrize("terminating", [0, 1])
def test_a_member_that_leaves_gets_no_new_request(health: RouteHealthStatus, terminating: int) -> None:
    publication = published(leaving(a_set(SetRole.LIVE, HEALTHY, health, wanted=1, terminating=terminating), 1))

    assert states(publication) == [IN, LEAVING]
    assert [one.departure for one in publication.endpoints] == [None, Departure(route=RouteId("1-1"), epoch=Epoch(4))]


def test_members_that_leave_do_not_count_as_ones_that_stay() -> None:
    publication = published(leaving(a_set(SetRole.LIVE, HEALTHY, UNHEALTHY, UNHEALTHY, HEALTHY, wanted=3), 3))

    assert states(publication) == [IN, IN, IN, LEAVING]
    assert publication.panic


@pytest.mark.parametrize("terminating", [0, 1, 2])
def test_a_live_set_that_wants_nothing_is_published_empty(terminating: int) -> None:
    live = leaving(a_set(SetRole.LIVE, HEALTHY, HEALTHY, wanted=0, terminating=terminating), 0, 1)

    assert states(published(live)) == [LEAVING, LEAVING]


def test_a_green_member_that_leaves_gets_no_preview() -> None:
    publication = published(leaving(a_set(SetRole.GREEN, HEALTHY, HEALTHY, wanted=1), 1))

    assert states(publication) == [OUT, OUT]
    assert [endpoint.state for endpoint in publication.preview] == [IN, LEAVING]


def test_a_deployment_that_is_being_deleted_is_not_routed_to() -> None:
    traffic = DeploymentTraffic(deployment="chat", epoch=Epoch(5), sets=(), routed=False)

    assert publish(traffic).routed is False
    assert published().routed is True


def served(number: int, role: SetRole, *, http: bool = True, streams: int | None = None) -> SetTraffic:
    """Return a set of two healthy members, of which the second terminates, with ports for either kind of requests."""
    one = a_set(role, HEALTHY, HEALTHY, terminating=1, number=number)
    members = tuple(
        member.model_copy(
            update={
                "http": 1000 * number + index if http else None,
                "grpc": None if streams is None else 2000 * number + index,
            }
        )
        for index, member in enumerate(one.members)
    )
    return one.model_copy(update={"members": members, "serves_http": http, "grpc_streams": streams})


@pytest.mark.parametrize("role", SetRole)
def test_both_ports_of_a_member_are_published_alike(role: SetRole) -> None:
    told = published(served(1, role, streams=100))

    assert [one.port for one in told.endpoints] == [1000, 1001]
    assert [one.port for one in told.grpc_endpoints] == [2000, 2001]
    for http, grpc in ((told.endpoints, told.grpc_endpoints), (told.preview, told.grpc_preview)):
        assert [one.model_copy(update={"port": 0}) for one in http] == [
            one.model_copy(update={"port": 0}) for one in grpc
        ]


def test_a_set_is_told_to_those_requests_alone_for_which_it_has_a_port() -> None:
    told = published(served(1, SetRole.LIVE), served(2, SetRole.GREEN, http=False, streams=100))

    assert {one.route_set for one in (*told.endpoints, *told.preview)} == {1}
    assert {one.route_set for one in (*told.grpc_endpoints, *told.grpc_preview)} == {2}
    assert (told.serves_http, told.grpc_streams) == (True, 100)


@pytest.mark.parametrize(
    ("sets", "serves_http", "streams"),
    [
        ((), True, None),
        ((served(1, SetRole.LIVE),), True, None),
        ((served(1, SetRole.LIVE, http=False, streams=100),), False, 100),
        ((served(1, SetRole.DRAINING, streams=100), served(2, SetRole.LIVE, streams=7)), True, 7),
    ],
)
def test_a_deployment_serves_what_one_of_its_sets_does_with_the_lowest_limit(
    sets: tuple[SetTraffic, ...], *, serves_http: bool, streams: int | None
) -> None:
    told = published(*sets)

    assert (told.serves_http, told.grpc_streams) == (serves_http, streams)
    assert any(destination.is_grpc for destination in told.destinations) is (streams is not None)


def test_a_member_is_left_out_when_either_of_its_ports_is_refused() -> None:
    named = served(1, SetRole.LIVE, streams=100).model_copy(update={"named_by_revision": True})
    traffic = DeploymentTraffic(deployment="chat", epoch=Epoch(5), sets=(named,))

    permitted, refusals = refuse_endpoints(traffic, Reach(own_ports=frozenset({2001})))

    assert list(refusals) == ["127.0.0.1:2001"]
    assert [member.ports for member in permitted.sets[0].members] == [(1000, 2000)]


# Blue in the bake.


def test_blue_is_a_fallback_in_the_bake_and_nothing_in_the_preview() -> None:
    told = published(a_set(WARM, HEALTHY, DEGRADED, number=1), a_set(SetRole.LIVE, HEALTHY, number=2))

    assert fallbacks(told) == [(1, IN), (1, IN)]
    assert states(told, 2) == [IN]
    assert [one.state for one in told.preview] == [LEAVING, LEAVING, LEAVING]


def test_a_replica_of_blue_that_cannot_serve_is_no_fallback() -> None:
    blue = a_set(WARM, UNHEALTHY, HEALTHY, terminating=1, number=1)

    assert fallbacks(published(blue, a_set(SetRole.LIVE, HEALTHY, number=2))) == [(1, OUT), (1, LEAVING)]


@pytest.mark.parametrize("greens", [(UNHEALTHY, UNHEALTHY), ()])
def test_blue_takes_the_traffic_of_a_live_set_without_a_fit_member(greens: tuple[RouteHealthStatus, ...]) -> None:
    told = published(a_set(WARM, HEALTHY, number=1), a_set(SetRole.LIVE, *greens, wanted=2, number=2))

    assert states(told, 2) == [OUT] * len(greens)
    assert not told.panic


def test_a_live_set_without_a_fit_member_is_published_where_blue_has_none_either() -> None:
    told = published(a_set(WARM, UNHEALTHY, number=1), a_set(SetRole.LIVE, UNHEALTHY, number=2))

    assert (states(told, 2), told.panic) == ([IN], True)


def test_one_fit_member_of_many_does_not_hand_the_traffic_to_blue() -> None:
    told = published(a_set(WARM, HEALTHY, number=1), a_set(SetRole.LIVE, HEALTHY, UNHEALTHY, UNHEALTHY, number=2))

    assert (states(told, 2), told.panic) == ([IN, IN, IN], True)
