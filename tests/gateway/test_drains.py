"""Draining sets on each router, by what it acknowledges and reports."""

import pytest

from celadon.domain.decisions.publication import Publication, SetRole
from celadon.domain.language.names import Epoch, RouteId, RouterNode, RouteSetId
from celadon.gateway.drains import Drains
from celadon.gateway.load_reports import IDLE_PLAN, DrainLoad, EndpointKey, Leaver, LoadReport
from tests.gateway.traffic import BLUE, GREEN, after_switch, before_switch, publication

ROUTER = RouterNode("router")


def report(**running: int) -> LoadReport:
    """Return a report of blue's running requests by cluster, with an idle preview."""
    return LoadReport(ROUTER, {"chat-preview": {}} | {cluster: {BLUE: number} for cluster, number in running.items()})


@pytest.fixture
def drains() -> Drains:
    """Return drains in which blue drains from epoch 2 on, which the router acknowledges at 10 s."""
    made = Drains()
    made.publish(before_switch(1, [1], [2]))
    made.acknowledge(ROUTER, {"chat": Epoch(1)}, at=1.0)
    made.publish(after_switch(2, [1], [2]))
    made.acknowledge(ROUTER, {"chat": Epoch(2)}, at=10.0)
    return made


def zeros(drains: Drains, at: float) -> int | None:
    """Return the zeros that count after one more report of nothing."""
    drains.report(ROUTER, report(chat=0), at)
    load = drains.report(ROUTER, report(chat=0), at + 2.0).get(BLUE)
    return None if load is None else load.zero_reports


def test_nothing_is_told_while_nothing_drains() -> None:
    drains = Drains()
    drains.publish(before_switch(1, [1], [2]))
    drains.acknowledge(ROUTER, {"chat": Epoch(1)}, at=1.0)
    assert drains.report(ROUTER, report(chat=5), at=20.0) == {}
    assert drains.plan(ROUTER) == IDLE_PLAN


def test_nothing_is_told_before_the_router_serves_the_set_as_draining() -> None:
    drains = Drains()
    drains.publish(before_switch(1, [1], [2]))
    drains.publish(after_switch(2, [1], [2]))
    drains.acknowledge(ROUTER, {"chat": Epoch(1)}, at=1.0)
    assert drains.report(ROUTER, report(chat=0), at=20.0) == {}


def test_a_later_epoch_serves_too(drains: Drains) -> None:
    drains.publish(after_switch(3, [1], [2, 3]))
    drains.acknowledge(RouterNode("late"), {"chat": Epoch(3)}, at=30.0)
    assert drains.report(RouterNode("late"), report(chat=0), at=40.0) == {BLUE: DrainLoad(0, 1)}


def test_what_is_counted_counts_for_the_epoch_that_is_published(drains: Drains) -> None:
    assert drains.epoch_of(BLUE) == 2
    drains.publish(after_switch(3, [1], [2, 3]))
    assert drains.epoch_of(BLUE) == 3


def test_running_requests_are_told(drains: Drains) -> None:
    assert drains.report(ROUTER, report(chat=7), at=10.1) == {BLUE: DrainLoad(7, 0)}


def test_what_has_not_changed_is_told_once_a_second(drains: Drains) -> None:
    told = [at for at in range(20) if drains.report(ROUTER, report(chat=7), at=10.0 + at / 10)]
    assert told == [0, 10]


def test_an_acknowledgement_that_is_repeated_does_not_start_the_wait_anew(drains: Drains) -> None:
    drains.acknowledge(ROUTER, {"chat": Epoch(3)}, at=10.9)
    assert drains.report(ROUTER, report(chat=0), at=11.1) == {BLUE: DrainLoad(0, 1)}


def test_a_router_that_went_away_counts_from_its_new_acknowledgement(drains: Drains) -> None:
    drains.disconnect(ROUTER)
    assert drains.report(ROUTER, report(chat=0), at=20.0) == {}
    drains.acknowledge(ROUTER, {"chat": Epoch(2)}, at=30.0)
    assert drains.report(ROUTER, report(chat=0), at=30.5) == {BLUE: DrainLoad(0, 0)}


def test_zeros_are_forgotten_when_the_reports_stop(drains: Drains) -> None:
    assert zeros(drains, at=20.0) == 2
    drains.stop_reports(ROUTER)
    assert drains.report(ROUTER, report(chat=0), at=30.0) == {BLUE: DrainLoad(0, 1)}


def test_a_set_whose_cluster_was_replaced_is_never_empty(drains: Drains) -> None:
    drains.lose_count(ROUTER, "chat")
    drains.acknowledge(ROUTER, {"chat": Epoch(3)}, at=12.0)
    assert drains.report(ROUTER, report(chat=0), at=20.0) == {}


def test_a_set_that_came_after_its_cluster_was_replaced_is_counted(drains: Drains) -> None:
    drains.lose_count(ROUTER, "chat")
    newer = RouteSetId(3)
    drains.publish(publication(5, {(GREEN, SetRole.DRAINING): [2], (newer, SetRole.LIVE): [3]}))
    drains.publish(publication(6, {(newer, SetRole.DRAINING): [3]}))
    drains.acknowledge(ROUTER, {"chat": Epoch(6)}, at=20.0)
    assert drains.report(ROUTER, report(chat=0), at=30.0) == {newer: DrainLoad(0, 1)}


def test_a_set_that_is_live_again_no_longer_drains(drains: Drains) -> None:
    drains.publish(publication(3, {(BLUE, SetRole.LIVE): [1], (GREEN, SetRole.DRAINING): [2]}))
    drains.acknowledge(ROUTER, {"chat": Epoch(3)}, at=12.0)
    assert drains.report(ROUTER, report(chat=5), at=20.0) == {GREEN: DrainLoad(0, 1)}


def test_a_deployment_that_is_gone_is_forgotten(drains: Drains) -> None:
    drains.withdraw("chat")
    assert drains.report(ROUTER, report(chat=5), at=20.0) == {}
    assert drains.plan(ROUTER) == IDLE_PLAN


# Members that leave a set which stays.

FIRST = Leaver(RouteId("127.0.0.1:1"), Epoch(2), BLUE, frozenset({EndpointKey(BLUE, "127.0.0.1", 1)}))
SECOND = Leaver(RouteId("127.0.0.1:1"), Epoch(4), BLUE, frozenset({EndpointKey(BLUE, "127.0.0.1", 1)}))


def leaving(epoch: int, departure: int | None) -> Publication:
    """Return a publication of a live set of two, the first of which leaves."""
    gone = {} if departure is None else {1: departure}
    return publication(epoch, {(BLUE, SetRole.LIVE): [1, 3]}, leaving=gone)


def by_endpoint(first: int, second: int, *, of_others: int = 0) -> LoadReport:
    """Return a report that tells endpoints apart, and requests of endpoints that are not named."""
    named = {EndpointKey(BLUE, "127.0.0.1", 1): first, EndpointKey(BLUE, "127.0.0.1", 3): second}
    return LoadReport(
        ROUTER,
        {"chat": {BLUE: first + second + of_others}, "chat-preview": {}},
        {"chat": named},
    )


@pytest.fixture
def departure() -> Drains:
    """Return drains in which one member leaves from epoch 2 on, which the router acknowledges at 10 s."""
    made = Drains()
    made.publish(leaving(1, None))
    made.acknowledge(ROUTER, {"chat": Epoch(1)}, at=1.0)
    made.publish(leaving(2, 2))
    made.acknowledge(ROUTER, {"chat": Epoch(2)}, at=10.0)
    return made


def test_the_requests_of_the_member_that_leaves_are_told_alone(departure: Drains) -> None:
    assert departure.report(ROUTER, by_endpoint(2, 7), at=10.1) == {FIRST: DrainLoad(2, 0)}
    assert departure.report(ROUTER, by_endpoint(0, 7), at=20.0) == {FIRST: DrainLoad(0, 1)}


def test_requests_that_are_ascribed_to_nobody_may_be_its_own(departure: Drains) -> None:
    assert departure.report(ROUTER, report(chat=7), at=20.0) == {FIRST: DrainLoad(7, 0)}
    assert departure.report(ROUTER, by_endpoint(0, 6, of_others=1), at=21.0) == {FIRST: DrainLoad(1, 0)}


def test_while_a_member_leaves_the_router_tells_endpoints_apart(departure: Drains) -> None:
    assert departure.plan(ROUTER).endpoints
    for at in (20.0, 21.0):
        departure.report(ROUTER, by_endpoint(0, 7), at)
    assert departure.plan(ROUTER) == IDLE_PLAN


def test_a_member_that_was_taken_back_is_forgotten(departure: Drains) -> None:
    departure.publish(leaving(3, None))
    departure.acknowledge(ROUTER, {"chat": Epoch(3)}, at=11.0)
    assert departure.report(ROUTER, by_endpoint(2, 7), at=20.0) == {}


@pytest.mark.parametrize("was_seen_back", [True, False])
def test_zeros_of_an_earlier_departure_count_for_no_later_one(
    departure: Drains,
    was_seen_back: bool,  # noqa: FBT001
) -> None:
    for at in (20.0, 21.0):
        departure.report(ROUTER, by_endpoint(0, 7), at)
    if was_seen_back:
        departure.publish(leaving(3, None))
    departure.publish(leaving(4, 4))
    departure.acknowledge(ROUTER, {"chat": Epoch(3)}, at=25.0)
    assert departure.report(ROUTER, by_endpoint(0, 7), at=30.0) == {}
    departure.acknowledge(ROUTER, {"chat": Epoch(4)}, at=31.0)
    assert departure.report(ROUTER, by_endpoint(0, 7), at=31.5) == {SECOND: DrainLoad(0, 0)}


def test_no_zero_of_a_member_is_believed_after_its_cluster_was_replaced(departure: Drains) -> None:
    departure.lose_count(ROUTER, "chat")
    departure.acknowledge(ROUTER, {"chat": Epoch(3)}, at=12.0)
    assert departure.report(ROUTER, by_endpoint(0, 0), at=20.0) == {}


def test_a_member_goes_on_leaving_when_its_whole_set_drains(departure: Drains) -> None:
    departure.report(ROUTER, by_endpoint(1, 7), at=12.0)
    departure.publish(publication(3, {(BLUE, SetRole.DRAINING): [1, 3]}, leaving={1: 2}))
    departure.acknowledge(ROUTER, {"chat": Epoch(3)}, at=13.0)
    assert departure.report(ROUTER, by_endpoint(1, 7), at=20.0) == {FIRST: DrainLoad(1, 0), BLUE: DrainLoad(8, 0)}


def test_routers_that_come_and_go_leave_nothing_in_memory() -> None:
    drains = Drains()
    for number in range(100):
        node = RouterNode(f"edge-{number}")
        drains.acknowledge(node, {"chat": Epoch(1)}, 0.0)
        drains.disconnect(node)
        drains.stop_reports(node)
        drains.plan(node)

    assert not drains._routers  # noqa: SLF001 - what is kept is the subject
