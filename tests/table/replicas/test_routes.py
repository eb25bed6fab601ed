"""What the keeper writes of replicas."""

import asyncio
import random
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from celadon.domain.language.names import Fence, RouteId
from celadon.domain.language.states import RolloutOutcome, RouteHealthStatus, RouteStatus
from celadon.table.core.fences import LeaseLostError
from celadon.table.replicas.routes import (
    add_route,
    route_ended,
    route_health,
    route_running,
    set_gone,
    stop_drained,
    tell_condition,
)
from celadon.table.rollouts.route_sets import close_set
from tests.table.locks import until_somebody_waits
from tests.table.rows import HEALTHY, Opened, Rows

UNHEALTHY, DEGRADED = RouteHealthStatus.UNHEALTHY, RouteHealthStatus.DEGRADED


async def add(rows: Rows, opened: Opened, route: str | None = None) -> bool:
    async with rows.table.transaction() as tx:
        return await add_route(
            tx,
            rows.fence,
            opened.green,
            RouteId(route or str(uuid.uuid4())),
            host="127.0.0.1",
            port=8000,
        )


async def told(rows: Rows) -> list[Mapping[str, Any]]:
    """Return the edges that rollouts are owed, oldest first."""
    return [row["payload"] for row in await rows.rows("select payload from outbox order by id")]


async def conditions(rows: Rows) -> list[str]:
    return [edge["condition"] for edge in await told(rows)]


async def epoch_of(rows: Rows) -> int:
    epoch: int = await rows.value("select epoch from deployments where name = 'chat'")
    return epoch


# Adding.


async def test_a_replica_is_written_down_before_it_is_started(rows: Rows) -> None:
    opened = await rows.open()

    assert await add(rows, opened)

    [route] = await rows.rows("select * from routes")
    assert (route["status"], route["health"], route["set_id"]) == ("provisioning", "not_checked", opened.green)


async def test_a_set_takes_as_many_replicas_as_it_wants(rows: Rows) -> None:
    opened = await rows.open(replicas=2)

    assert [await add(rows, opened) for _ in range(3)] == [True, True, False]
    assert await rows.value("select count(*) from routes") == 2


async def test_a_replica_that_ended_or_is_being_stopped_makes_room(rows: Rows) -> None:
    opened = await rows.ready(replicas=2)
    await rows.end(opened, opened.routes[0])
    await rows.sql("update routes set status = 'terminating' where id = :id", id=uuid.UUID(opened.routes[1]))

    assert [await add(rows, opened) for _ in range(3)] == [True, True, False]


async def test_the_same_replica_is_written_down_once(rows: Rows) -> None:
    opened = await rows.open()
    route = str(uuid.uuid4())

    assert [await add(rows, opened, route) for _ in range(2)] == [True, True]
    assert await rows.value("select count(*) from routes") == 1


@pytest.mark.parametrize("state", ["draining", "gone"])
async def test_a_set_that_is_closed_takes_no_replica(rows: Rows, state: str) -> None:
    opened = await rows.open()
    await rows.sql("update route_sets set state = :state, drain_deadline = now()", state=state)

    assert await add(rows, opened) is False
    assert await rows.value("select count(*) from routes") == 0


async def test_a_set_that_failed_takes_no_replica(rows: Rows) -> None:
    opened = await rows.open()
    await rows.sql("update route_sets set condition = 'failed'")

    assert await add(rows, opened) is False


async def test_no_replica_is_orphaned_when_a_set_is_closed_meanwhile(rows: Rows) -> None:
    """Whoever comes second sees the other: no replica is ever added to a set that has been closed."""
    opened = await rows.open(replicas=2)
    for run in range(2, 42):
        added, _ = await asyncio.gather(
            _after_a_moment(add(rows, opened)),
            _after_a_moment(rows.finish(opened, RolloutOutcome.ABORTED)),
        )

        [row] = await rows.rows(
            "select state, drain_since from route_sets where id = :id",
            id=opened.green,
        )
        routes = await rows.rows("select created_at from routes where set_id = :id", id=opened.green)
        assert row["state"] == "draining"
        assert len(routes) == int(added)
        assert all(route["created_at"] <= row["drain_since"] for route in routes)
        opened = await rows.open(f"run-{run}", replicas=2)


async def test_closing_a_set_waits_for_a_replica_that_is_being_added(rows: Rows) -> None:
    opened = await rows.open()

    async with rows.table.transaction() as tx:
        assert await add_route(tx, rows.fence, opened.green, RouteId(str(uuid.uuid4())), host="127.0.0.1", port=8000)
        closing = asyncio.create_task(rows.close(opened, opened.green))
        await until_somebody_waits(rows.table)
        assert not closing.done()
    await closing

    assert len((await rows.kept(opened)).routes) == 1


async def test_adding_a_replica_waits_for_a_set_that_is_being_closed(rows: Rows) -> None:
    opened = await rows.open()

    async with rows.table.transaction() as tx:
        await close_set(tx, opened.close_step(opened.green))
        adding = asyncio.create_task(add(rows, opened))
        await until_somebody_waits(rows.table)
        assert not adding.done()

    assert await adding is False


async def _after_a_moment(step: Any) -> Any:
    await asyncio.sleep(random.random() / 200)
    return await step


# Every write is fenced.


@pytest.mark.parametrize("write", ["add", "running", "health", "ended", "gone", "stop", "tell"])
async def test_a_keeper_that_lost_its_lease_writes_nothing(rows: Rows, write: str) -> None:
    opened = await rows.open(replicas=2)
    route = await rows.add(opened, HEALTHY)
    kept = await rows.kept(opened)
    lost = Fence(rows.fence - 1)
    before = await rows.dump()

    async def attempt() -> None:
        async with rows.table.transaction() as tx:
            match write:
                case "add":
                    await add_route(tx, lost, opened.green, RouteId(str(uuid.uuid4())), host="127.0.0.1", port=1)
                case "running":
                    await route_running(tx, lost, kept, route)
                case "health":
                    await route_health(tx, lost, kept, route, health=UNHEALTHY, error="")
                case "ended":
                    await route_ended(tx, lost, kept, route, status=RouteStatus.TERMINATED, failed=True)
                case "gone":
                    await set_gone(tx, lost, kept)
                case "stop":
                    await stop_drained(tx, lost, kept, cut=True)
                case _:
                    await tell_condition(tx, lost, kept)

    with pytest.raises(LeaseLostError):
        await attempt()

    assert await rows.dump() == before


# A replica's life.


async def test_a_replica_that_runs_is_published(rows: Rows) -> None:
    opened = await rows.open()
    route = await rows.add(opened)
    epoch = await epoch_of(rows)

    kept = await rows.kept(opened)
    async with rows.table.transaction() as tx:
        await route_running(tx, rows.fence, kept, route)

    [row] = await rows.rows("select status, started_at from routes")
    assert row["status"] == "running"
    assert row["started_at"] is not None
    assert await epoch_of(rows) == epoch + 1


async def test_health_is_published_with_what_the_probe_said(rows: Rows) -> None:
    opened = await rows.ready()
    epoch = await epoch_of(rows)

    await rows.set_health(opened, opened.routes[0], UNHEALTHY, "GET /health answered 500")

    [row] = await rows.rows("select health, last_error from routes")
    assert (row["health"], row["last_error"]) == ("unhealthy", "GET /health answered 500")
    assert await epoch_of(rows) == epoch + 1


async def test_the_health_of_a_replica_that_does_not_run_changes_nothing(rows: Rows) -> None:
    opened = await rows.ready()
    await rows.end(opened, opened.routes[0])
    before = await rows.dump()

    await rows.set_health(opened, opened.routes[0], HEALTHY)

    assert await rows.dump() == before


async def test_a_replica_ends_once(rows: Rows) -> None:
    opened = await rows.ready(policy={"max_replacements": 5})
    await rows.end(opened, opened.routes[0], error="exit code 1")
    before = await rows.dump()

    await rows.end(opened, opened.routes[0], error="exit code 1")

    assert await rows.dump() == before
    assert await rows.value("select replacements from route_sets") == 1


async def test_the_end_of_a_replica_is_kept_with_its_last_words(rows: Rows) -> None:
    opened = await rows.ready()

    await rows.end(opened, opened.routes[0], error="exit code 1", status=RouteStatus.FAILED_TO_START)

    [row] = await rows.rows("select * from routes")
    assert (row["status"], row["health"], row["output"]) == ("failed_to_start", "unhealthy", "boom\n")
    assert row["ended_at"] is not None
    [event] = await rows.rows("select * from rollout_events where kind = 'replica_failed'")
    assert (event["actor"], event["reason"], event["rollout"]) == ("keeper", "exit code 1", opened.begun.rollout)


async def test_a_replica_that_was_stopped_is_no_failure(rows: Rows) -> None:
    opened = await rows.ready()

    await rows.end(opened, opened.routes[0], failed=False, error="")

    assert await rows.value("select replacements from route_sets") == 0
    assert await rows.value("select count(*) from rollout_events where kind = 'replica_failed'") == 0


# Edges.


async def test_a_rollout_hears_of_edges_alone_each_with_the_next_number(rows: Rows) -> None:
    opened = await rows.open(replicas=2)
    one, other = await rows.add(opened, HEALTHY), await rows.add(opened, HEALTHY)
    await rows.set_health(opened, one, HEALTHY)
    await rows.set_health(opened, other, UNHEALTHY, "refused")
    await rows.set_health(opened, one, UNHEALTHY, "refused")
    await rows.set_health(opened, one, HEALTHY)
    await rows.set_health(opened, other, HEALTHY)

    edges = await told(rows)
    assert [(edge["seq"], edge["condition"], edge["ready"]) for edge in edges] == [
        (1, "running", 1),
        (2, "ready", 2),
        (3, "running", 1),
        (4, "ready", 2),
    ]
    assert {(edge["route_set"], edge["required"], edge["wanted"], edge["failed"]) for edge in edges} == {
        (opened.green, 2, 2, False),
    }
    assert {
        (row["workflow_id"], row["signal"]) for row in await rows.rows("select workflow_id, signal from outbox")
    } == {
        ("rollout-chat", "green_changed"),
    }


async def test_a_degraded_replica_keeps_a_ready_green_ready(rows: Rows) -> None:
    opened = await rows.ready()
    before = await conditions(rows)

    await rows.set_health(opened, opened.routes[0], DEGRADED, "timed out")

    assert await conditions(rows) == before


async def test_a_degraded_replica_makes_no_green_ready(rows: Rows) -> None:
    opened = await rows.open()

    await rows.add(opened, DEGRADED)

    assert await conditions(rows) == ["running"]


async def test_an_edge_its_health_and_its_epoch_are_one_transaction(rows: Rows) -> None:
    """A rollout that hears of an edge finds it in the table, and one that hears of none finds none."""
    opened = await rows.ready()
    kept = await rows.kept(opened)
    before = await rows.dump()

    async with rows.table.transaction() as tx:
        await route_health(tx, rows.fence, kept, opened.routes[0], health=UNHEALTHY, error="refused")
        await tx.rollback()

    assert await rows.dump() == before
    await rows.set_health(opened, opened.routes[0], UNHEALTHY, "refused")
    after = await rows.dump()
    assert {name for name in after if after[name] != before[name]} == {
        "deployments",
        "outbox",
        "route_sets",
        "routes",
    }


async def test_more_failures_than_replacements_end_a_green(rows: Rows) -> None:
    opened = await rows.open(policy={"max_replacements": 1})
    for _ in range(2):
        await rows.end(opened, await rows.add(opened), error="exit code 1")

    edge = (await told(rows))[-1]
    assert (edge["condition"], edge["failed"]) == ("failed", True)
    assert edge["last_error"].startswith("exit code 1")
    assert await add(rows, opened) is False


async def test_a_green_that_failed_stays_failed(rows: Rows) -> None:
    opened = await rows.ready(replicas=2, policy={"max_replacements": 0, "min_healthy": 1})
    await rows.end(opened, opened.routes[0])
    before = await conditions(rows)

    await rows.set_health(opened, opened.routes[1], UNHEALTHY)
    await rows.set_health(opened, opened.routes[1], HEALTHY)

    assert before[-1] == "failed"
    assert await conditions(rows) == before


async def test_a_set_that_is_live_is_replaced_without_end(rows: Rows) -> None:
    opened = await rows.live(policy={"max_replacements": 0})
    for _ in range(3):
        await rows.end(opened, (await rows.kept(opened)).routes[0].route)
        assert await add(rows, opened)

    assert await rows.value("select condition from route_sets") != "failed"


async def test_after_the_switch_a_rollout_hears_of_no_edge(rows: Rows) -> None:
    """Unless it is that no replica of green is healthy at all."""
    await rows.live(replicas=2)
    second = await rows.switched("run-2", replicas=2)
    await rows.sql("delete from outbox")

    await rows.set_health(second, second.routes[0], UNHEALTHY)
    await rows.set_health(second, second.routes[0], HEALTHY)

    assert await told(rows) == []


async def test_blue_owes_nothing_to_the_rollout_that_replaces_it(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.open("run-2")
    await rows.sql("delete from outbox")

    await rows.set_health(second, first.routes[0], UNHEALTHY, route_set=first.green)

    assert await told(rows) == []


async def test_a_green_without_replicas_is_ready_at_once(rows: Rows) -> None:
    opened = await rows.open(replicas=0)
    kept = await rows.kept(opened)

    async with rows.table.transaction() as tx:
        await tell_condition(tx, rows.fence, kept)

    assert await conditions(rows) == ["ready"]


@pytest.mark.parametrize("first_edges", [["running", "ready"], ["ready"]])
@pytest.mark.parametrize("max_regressions", [0, 1, 2])
async def test_a_green_that_flaps_for_ever_is_told_a_bounded_number_of_times_and_ready_last(
    rows: Rows,
    first_edges: list[str],
    max_regressions: int,
) -> None:
    replicas = 1 if first_edges == ["running", "ready"] else 2
    opened = await rows.ready(replicas=replicas, policy={"max_regressions": max_regressions, "min_healthy": 1})
    if replicas == 2:
        await rows.set_health(opened, opened.routes[1], UNHEALTHY)
    assert await conditions(rows) == first_edges
    for _ in range(10):
        await rows.set_health(opened, opened.routes[0], UNHEALTHY)
        await rows.set_health(opened, opened.routes[0], HEALTHY)

    heard = await conditions(rows)
    assert max_regressions < heard[len(first_edges) :].count("running") <= max_regressions + 2
    assert heard[-1] == "ready"


async def test_a_green_that_flapped_and_fails_is_still_told(rows: Rows) -> None:
    opened = await rows.ready(policy={"max_regressions": 0, "max_replacements": 0})
    for _ in range(5):
        await rows.set_health(opened, opened.routes[0], UNHEALTHY)
        await rows.set_health(opened, opened.routes[0], HEALTHY)

    await rows.end(opened, opened.routes[0])

    assert (await conditions(rows))[-1] == "failed"


# Stopping.


async def test_a_drain_that_ended_meanwhile_stops_nothing(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.close(second, first.green)
    kept = await rows.kept(second, first.green)
    await rows.switch_back(second)

    async with rows.table.transaction() as tx:
        assert await stop_drained(tx, rows.fence, kept, cut=False) == frozenset()

    assert await rows.value("select status from routes where set_id = :id", id=first.green) == "running"


async def test_a_second_drain_is_not_the_first_one(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.close(second, first.green)
    kept = await rows.kept(second, first.green)
    await rows.switch_back(second)
    await rows.finish(second, RolloutOutcome.ROLLED_BACK)
    third = await rows.switched("run-3")
    await rows.close(third, first.green)

    async with rows.table.transaction() as tx:
        assert await stop_drained(tx, rows.fence, kept, cut=False) == frozenset()


async def test_a_router_that_comes_back_after_the_decision_keeps_what_it_uses(rows: Rows) -> None:
    first = await rows.live()
    before = await rows.value("select epoch from deployments")
    await rows.router("east", before)
    second = await rows.switched("run-2")
    await rows.sql("update routers set seen_at = now() - interval '11 minutes'")
    await rows.close(second, first.green)
    kept = await rows.kept(second, first.green)

    await rows.connect("east")
    async with rows.table.transaction() as tx:
        while_it_serves_blue = await stop_drained(tx, rows.fence, kept, cut=False)
    await rows.acknowledge("east", await rows.value("select epoch from deployments"))
    async with rows.table.transaction() as tx:
        afterwards = await stop_drained(tx, rows.fence, kept, cut=False)

    assert while_it_serves_blue == frozenset()
    assert afterwards == frozenset(first.routes)


async def test_a_set_is_gone_when_its_last_replica_is(rows: Rows) -> None:
    first = await rows.live(replicas=2)
    second = await rows.switched("run-2", replicas=1)
    await rows.close(second, first.green)
    epoch = await epoch_of(rows)

    gone = []
    for route in first.routes:
        kept = await rows.kept(second, first.green)
        async with rows.table.transaction() as tx:
            gone.append(await set_gone(tx, rows.fence, kept))
        async with rows.table.transaction() as tx:
            await route_ended(tx, rows.fence, kept, route, status=RouteStatus.TERMINATED, failed=False)
    async with rows.table.transaction() as tx:
        gone.append(await set_gone(tx, rows.fence, kept))

    assert gone == [False, False, True]
    assert await rows.value("select state from route_sets where id = :id", id=first.green) == "gone"
    assert await epoch_of(rows) > epoch


async def test_an_open_set_without_replicas_is_not_gone(rows: Rows) -> None:
    opened = await rows.open()
    kept = await rows.kept(opened)

    async with rows.table.transaction() as tx:
        assert await set_gone(tx, rows.fence, kept) is False
