"""Scaling inside a rollout and outside, and the members that leave."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import text

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.names import Epoch, RouteId
from celadon.domain.language.states import RolloutOutcome, RouteHealthStatus
from celadon.domain.language.steps import Step
from celadon.table.replicas.drain_reports import read_departure_reports
from celadon.table.replicas.routes import Leaving, add_route, route_ended
from celadon.table.rollouts.route_sets import open_green
from celadon.table.routers.reports import DepartureLoad, record_departures
from celadon.table.routers.traffic import read_traffic
from tests.table.locks import until_somebody_waits
from tests.table.rows import HEALTHY, Opened, Rows

UNHEALTHY = RouteHealthStatus.UNHEALTHY


async def wanted(rows: Rows) -> dict[int, int]:
    """Return how many replicas each set that is not gone wants, by set."""
    found = await rows.rows("select id, wanted from route_sets where state <> 'gone' order by id")
    return {row["id"]: row["wanted"] for row in found}


async def replicas(rows: Rows) -> int:
    number: int = await rows.value("select replicas from deployments")
    return number


async def edges(rows: Rows) -> list[Mapping[str, Any]]:
    return [row["payload"] for row in await rows.rows("select payload from outbox order by id")]


async def leaving(rows: Rows) -> set[str]:
    found = await rows.rows("select id from routes where leaving_epoch is not null and status = 'running'")
    return {str(row["id"]) for row in found}


async def refusal(scaling: Awaitable[object]) -> RefusalCode:
    with pytest.raises(RefusedError) as refused:
        await scaling
    return refused.value.refusal.code


# Outside of a rollout.


async def test_the_live_set_follows_and_the_audit_log_tells_who_and_why(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    epoch = await rows.value("select epoch from deployments")

    answer = await rows.scale(5, reason="black friday")

    assert (answer.before, answer.replicas, answer.epoch, answer.changed) == (2, 5, epoch + 1, True)
    assert await replicas(rows) == 5
    assert await wanted(rows) == {live.green: 5}
    [event] = await rows.rows("select * from rollout_events where kind = 'scaled'")
    assert (event["actor"], event["door"], event["reason"], event["rollout"]) == ("ann", "cli", "black friday", None)
    assert event["evidence"] == {"from": "2", "to": "5", "epoch": str(epoch + 1)}


async def test_the_same_number_again_writes_nothing(rows: Rows) -> None:
    await rows.live(replicas=2)
    await rows.scale(5)
    before = await rows.dump()

    answer = await rows.scale(5)

    assert (answer.before, answer.replicas, answer.changed) == (5, 5, False)
    assert await rows.dump() == before


async def test_nothing_is_wanted_and_then_something_again(rows: Rows) -> None:
    live = await rows.live(replicas=2)

    await rows.scale(0)
    await rows.mark_surplus(live)
    assert await leaving(rows) == set(live.routes)
    await rows.scale(1)

    assert await wanted(rows) == {live.green: 1}
    assert await leaving(rows) == {live.routes[1]}


@pytest.mark.parametrize("number", [-1, 10_001])
async def test_a_number_that_no_deployment_can_have_is_refused(rows: Rows, number: int) -> None:
    await rows.live()
    before = await rows.dump()

    assert await refusal(rows.scale(number)) is RefusalCode.TOO_MANY_REPLICAS
    assert await rows.dump() == before


async def test_an_unknown_deployment_is_refused(rows: Rows) -> None:
    assert await refusal(rows.scale(1)) is RefusalCode.NO_SUCH_DEPLOYMENT


@pytest.mark.parametrize("lifecycle", ["destroying", "destroyed"])
async def test_a_deleted_deployment_is_refused(rows: Rows, lifecycle: str) -> None:
    await rows.live()
    await rows.sql("update deployments set lifecycle = :lifecycle", lifecycle=lifecycle)

    assert await refusal(rows.scale(2)) is RefusalCode.DEPLOYMENT_DELETED


async def test_more_replicas_than_static_endpoints_are_refused(rows: Rows) -> None:
    revision = {"provisioner": "static", "endpoints": ["127.0.0.1:9001", "127.0.0.1:9002"]}
    await rows.open(replicas=1, revision=revision)

    assert await refusal(rows.scale(3)) is RefusalCode.POLICY_CONFLICT
    assert (await rows.scale(2)).changed


async def test_a_deployment_that_never_was_live_keeps_the_number_for_its_next_rollout(rows: Rows) -> None:
    opened = await rows.open(replicas=2)
    await rows.finish(opened, RolloutOutcome.ABORTED)

    await rows.scale(4)

    assert (await rows.begin("run-2")).replicas == 4


# Inside a rollout, at every moment.


async def test_before_its_begin_a_rollout_takes_the_deployments_number(rows: Rows) -> None:
    await rows.live(replicas=2)

    await rows.scale(3)

    assert (await rows.begin("run-2")).replicas == 3
    assert (await rows.begin("run-2", replicas=6)).replicas == 3


async def test_between_begin_and_open_green_is_opened_with_the_new_number(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    begun = await rows.begin("run-2", replicas=4)

    await rows.scale(3)
    async with rows.table.transaction() as tx:
        opened = await open_green(tx, Step(deployment="chat", rollout=begun.rollout))

    assert opened.wanted == 3
    assert await wanted(rows) == {live.green: 3, opened.route_set: 3}


async def test_before_the_switch_both_colours_follow_and_the_switch_keeps_the_number(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    second = await rows.ready("run-2", replicas=3)

    await rows.scale(1)
    await rows.mark_surplus(second)
    answer = await rows.switch(second)

    assert answer.refusal is None
    assert await wanted(rows) == {live.green: 1, second.green: 1}
    assert await replicas(rows) == 1


async def test_a_green_that_grows_is_not_ready_until_it_has_grown(rows: Rows) -> None:
    await rows.live()
    second = await rows.ready("run-2")
    await rows.sql("delete from outbox")

    await rows.scale(2)
    refused = await rows.switch(second)
    await rows.add(second, HEALTHY)
    answer = await rows.switch(second)

    assert refused.refusal is not None
    assert (refused.refusal.code, refused.scaled) == (RefusalCode.NO_HEALTHY_GREEN, True)
    assert answer.epoch is not None
    assert [(edge["condition"], edge["scaled"], edge["wanted"]) for edge in await edges(rows)] == [
        ("running", True, 2),
        ("ready", False, 2),
    ]


async def test_a_green_that_shrinks_can_become_ready_by_that(rows: Rows) -> None:
    await rows.live()
    second = await rows.open("run-2", replicas=2)
    await rows.add(second, HEALTHY)

    await rows.scale(1)

    assert [(edge["condition"], edge["scaled"]) for edge in await edges(rows)][-1] == ("ready", False)
    assert (await rows.switch(second)).refusal is None


async def test_a_green_that_still_starts_is_told_to_have_grown(rows: Rows) -> None:
    """Its rollout gives the new replicas the time of a new green."""
    await rows.live()
    await rows.open("run-2")
    await rows.sql("delete from outbox")

    await rows.scale(2)

    assert [(edge["condition"], edge["scaled"]) for edge in await edges(rows)] == [("starting", True)]


@pytest.mark.parametrize("max_regressions", [0, 2])
async def test_scalings_do_not_count_as_regressions(rows: Rows, max_regressions: int) -> None:
    """However often somebody scales, a green that regresses afterwards is told as if nobody had."""
    await rows.live()
    second = await rows.ready("run-2", policy={"max_regressions": max_regressions})
    for number in range(2, 8):
        await rows.scale(number)
        await rows.add(second, HEALTHY)
    await rows.sql("delete from outbox")

    for _ in range(10):
        await rows.set_health(second, second.routes[0], UNHEALTHY)
        await rows.set_health(second, second.routes[0], HEALTHY)

    told = [edge["condition"] for edge in await edges(rows)]
    assert max_regressions < told.count("running") <= max_regressions + 2
    assert told[-1] == "ready"


async def test_while_blue_bakes_it_follows_so_that_the_way_back_has_the_capacity(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    second = await rows.switched("run-2", replicas=2)

    await rows.scale(1)
    back = await rows.switch_back(second)

    assert back.refusal is None
    assert await wanted(rows) == {live.green: 1, second.green: 1}
    assert await replicas(rows) == 1


@pytest.mark.parametrize("number", [1, 5])
async def test_a_scaling_while_blue_drains_holds_when_blue_is_opened_again(rows: Rows, number: int) -> None:
    live = await rows.live(replicas=2)
    second = await rows.switched("run-2", replicas=2)
    await rows.close(second, live.green)

    await rows.scale(number)
    assert await wanted(rows) == {live.green: 2, second.green: number}
    back = await rows.switch_back(second)

    assert back.refusal is None
    assert await wanted(rows) == {live.green: number, second.green: number}
    assert await replicas(rows) == number


async def test_without_a_scaling_blue_comes_back_as_it_was(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    second = await rows.switched("run-2", replicas=3)
    await rows.close(second, live.green)

    await rows.switch_back(second)

    assert await wanted(rows) == {live.green: 2, second.green: 3}
    assert await replicas(rows) == 2


async def test_while_green_drains_only_the_live_set_follows(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    second = await rows.ready("run-2", replicas=2)
    await rows.close(second, second.green)

    await rows.scale(3)
    await rows.finish(second, RolloutOutcome.ABORTED)

    assert await wanted(rows) == {live.green: 3, second.green: 2}
    assert await replicas(rows) == 3


@pytest.mark.parametrize("step", ["switch", "switch_back", "finish"])
async def test_a_scaling_and_a_step_of_the_rollout_wait_for_one_another(rows: Rows, step: str) -> None:
    await rows.live()
    second = await (rows.ready("run-2") if step == "switch" else rows.switched("run-2"))
    steps: dict[str, Callable[[Opened], Awaitable[object]]] = {
        "switch": rows.switch,
        "switch_back": rows.switch_back,
        "finish": rows.finish,
    }
    async with rows.table.transaction() as tx:
        await tx.execute(text("select 1 from deployments for no key update"))
        both = asyncio.gather(steps[step](second), rows.scale(0))
        await until_somebody_waits(rows.table)
    await both

    [row] = await rows.rows(
        "select replicas, wanted from deployments join route_sets on live_set = route_sets.id",
    )
    assert (row["replicas"], row["wanted"]) == (0, 0)


# Members that leave.


async def test_members_leave_are_published_as_draining_and_count_no_more(rows: Rows) -> None:
    live = await rows.live(replicas=3)
    await rows.scale(2)

    left = await rows.mark_surplus(live)

    assert left == Leaving(drained=frozenset({live.routes[2]}))
    async with rows.table.transaction() as tx:
        traffic = await read_traffic(tx, "chat")
    assert traffic is not None
    epoch = await rows.value("select epoch from deployments")
    assert {one.route: one.leaving_epoch for one in traffic.sets[0].members} == {
        live.routes[0]: None,
        live.routes[1]: None,
        live.routes[2]: epoch,
    }
    async with rows.table.transaction() as tx:
        assert not await add_route(tx, rows.fence, live.green, RouteId(str(uuid.uuid4())), host="127.0.0.1", port=8000)
    assert await rows.mark_surplus(live) == Leaving()


async def test_a_member_that_no_router_knows_stops_at_once(rows: Rows) -> None:
    live = await rows.live()
    await rows.scale(2)
    starting = await rows.add(live)
    await rows.scale(1)

    assert await rows.mark_surplus(live) == Leaving(stopped=frozenset({starting}))


async def test_a_switch_does_not_count_on_members_that_leave(rows: Rows) -> None:
    await rows.live()
    second = await rows.ready("run-2", replicas=2)
    await rows.scale(1)
    await rows.mark_surplus(second)
    await rows.sql("update routes set health = 'unhealthy' where id = :id", id=uuid.UUID(second.routes[0]))

    answer = await rows.switch(second)

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.NO_HEALTHY_GREEN


async def test_a_healthy_member_that_leaves_takes_the_place_of_one_that_became_unhealthy(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    await rows.scale(1)
    await rows.mark_surplus(live)

    await rows.set_health(live, live.routes[0], UNHEALTHY)
    assert await leaving(rows) == set()
    await rows.mark_surplus(live)

    assert await leaving(rows) == {live.routes[0]}


async def test_a_member_comes_back_in_the_transaction_in_which_another_ends(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    await rows.scale(1)
    await rows.mark_surplus(live)
    kept = await rows.kept(live)

    await rows.end(live, live.routes[0])

    assert await leaving(rows) == set()
    [gone] = kept.leaving
    assert await rows.stop_left(kept, gone) == frozenset()


async def test_a_member_that_leaves_and_dies_is_no_failure_of_its_revision(rows: Rows) -> None:
    await rows.live()
    second = await rows.ready("run-2", replicas=2, policy={"max_replacements": 0})
    await rows.scale(1)
    await rows.mark_surplus(second)
    kept = await rows.kept(second)

    async with rows.table.transaction() as tx:
        [one] = kept.leaving
        await route_ended(tx, rows.fence, kept, one.route, status=one.status.TERMINATED, error="x", failed=True)

    assert await rows.value("select replacements from route_sets where id = :id", id=second.green) == 0


async def _report(rows: Rows, node: str, route: RouteId, epoch: Epoch, running: int, zeros: int = 0) -> None:
    async with rows.table.transaction() as tx:
        load = DepartureLoad(route=route, epoch=epoch, running=running, zero_reports=zeros)
        await record_departures(tx, node, [load])


async def test_what_routers_report_counts_for_one_departure_alone(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    await rows.router("east", 0)
    await rows.scale(1)
    await rows.mark_surplus(live)
    [first] = (await rows.kept(live)).leaving
    assert first.leaving_epoch is not None
    await _report(rows, "east", first.route, first.leaving_epoch, 0, zeros=5)
    await rows.scale(2)
    await rows.scale(1)
    await rows.mark_surplus(live)
    [second] = (await rows.kept(live)).leaving
    assert second.leaving_epoch is not None
    await _report(rows, "east", first.route, first.leaving_epoch, 0, zeros=6)

    async with rows.table.transaction() as tx:
        reports = await read_departure_reports(tx, [live.green])

    [east] = reports.routers[second.route, second.leaving_epoch]
    assert (east.acknowledged, east.running, east.zero_reports) == (False, None, 0)
    await rows.acknowledge("east", second.leaving_epoch)
    await _report(rows, "east", second.route, second.leaving_epoch, 3)
    await _report(rows, "east", first.route, first.leaving_epoch, 0, zeros=7)
    async with rows.table.transaction() as tx:
        reports = await read_departure_reports(tx, [live.green])
    [east] = reports.routers[second.route, second.leaving_epoch]
    assert (east.acknowledged, east.running, east.zero_reports) == (True, 3, 0)


async def test_requests_cut_at_the_deadline_are_counted_and_told(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    for node in ("east", "west"):
        await rows.router(node, 0)
    await rows.scale(1)
    await rows.mark_surplus(live)
    kept = await rows.kept(live)
    [one] = kept.leaving
    assert one.leaving_epoch is not None
    for node, running in (("east", 3), ("west", 2)):
        await rows.acknowledge(node, one.leaving_epoch)
        await _report(rows, node, one.route, one.leaving_epoch, running)

    assert await rows.stop_left(kept, one, cut=True) == {one.route}

    assert await rows.value("select requests_cut from routes where id = :id", id=uuid.UUID(one.route)) == 5
    [event] = await rows.rows("select * from rollout_events where kind = 'requests_cut'")
    assert event["evidence"] == {"route": one.route, "requests": "5"}


async def test_a_set_that_drains_takes_its_leaving_members_with_it(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    await rows.scale(1)
    await rows.mark_surplus(live)
    second = await rows.switched("run-2")
    kept = await rows.kept(second, live.green)
    [one] = kept.leaving
    await rows.close(second, live.green)

    assert await rows.stop_left(kept, one) == frozenset()
    assert (await rows.kept(second, live.green)).leaving == ()


async def test_a_set_that_is_opened_again_and_wants_more_takes_its_members_back(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    await rows.scale(1)
    await rows.mark_surplus(live)
    second = await rows.switched("run-2")
    await rows.close(second, live.green)
    await rows.scale(2)
    await rows.add(second, HEALTHY)

    assert (await rows.switch_back(second)).refusal is None

    assert await leaving(rows) == set()
    assert len((await rows.kept(second, live.green)).routes) == 2
