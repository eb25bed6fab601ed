"""Draining sets on each router, by what it acknowledges and reports."""

import pytest

from celadon.domain.names import Epoch, RouterNode, RouteSetId
from celadon.domain.publication import SetRole
from celadon.gateway.drains import Drains
from celadon.gateway.load_reports import IDLE_PLAN, DrainLoad, LoadReport
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
