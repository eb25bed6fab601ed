"""Draining sets stop only when every live router lets them."""

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from celadon.domain.language.names import RouteSetId
from celadon.domain.language.states import RouteSetState, RouteStatus
from celadon.table.core.engine import Table
from celadon.table.core.epoch import wake_up
from celadon.table.core.models import Route, RouteSet
from tests.keeper.rollouts import Deploying
from tests.keeper.routers import Router
from tests.provisioners.programs import processes_of, script, server, until

pytestmark = pytest.mark.usefixtures("keeper")

A_WHILE = 0.7
"""Longer than the keeper takes to decide."""


async def switched(chat: Deploying, *routers: Router) -> tuple[RouteSetId, list[Route]]:
    """Roll out two revisions, with these routers; return the blue set and its replicas."""
    blue = await chat.make_live({"command": server()}, replicas=2)
    replicas = await chat.healthy(2, blue)
    for router in routers:
        await router.connect()
    await chat.open({"command": server(), "env": {"VERSION": "2"}}, replicas=1)
    await chat.healthy(1)
    await chat.switch()
    return blue, replicas


async def still_runs(chat: Deploying, route_set: RouteSetId, count: int = 2) -> None:
    await asyncio.sleep(A_WHILE)
    assert [route.status for route in await chat.routes(route_set)] == [RouteStatus.RUNNING] * count


async def test_blue_stops_when_every_router_has_reported_two_zeros(
    chat: Deploying,
    east: Router,
    west: Router,
) -> None:
    blue, replicas = await switched(chat, east, west)
    await chat.close(blue)
    await east.acknowledge()
    await west.acknowledge()
    await east.report(blue, running=0, zero_reports=2)
    await west.report(blue, running=1)
    await still_runs(chat, blue)
    await west.report(blue, running=0, zero_reports=1)
    await still_runs(chat, blue)
    await west.report(blue, running=0, zero_reports=2)
    gone = await chat.gone(blue)
    assert gone.requests_cut == 0
    assert {route.status for route in await chat.routes(blue, ended=True)} == {RouteStatus.TERMINATED}
    assert not any(processes_of(route.id) for route in replicas)
    assert (await chat.set_row()).state is RouteSetState.OPEN


async def test_requests_that_still_run_at_the_deadline_are_cut_and_counted(
    chat: Deploying,
    east: Router,
    west: Router,
) -> None:
    blue, _ = await switched(chat, east, west)
    await chat.close(blue, timeout_seconds=1)
    # What is cut is decided when all have acknowledged; the deadline may have passed by then.
    for router, running in ((east, 3), (west, 2)):
        await router.report(blue, running=running)
    for router in (east, west):
        await router.acknowledge()
    assert (await chat.gone(blue)).requests_cut == 5


async def test_a_router_that_has_not_acknowledged_holds_blue_up_beyond_the_deadline(
    chat: Deploying,
    east: Router,
    west: Router,
) -> None:
    blue, _ = await switched(chat, east, west)
    await chat.close(blue, timeout_seconds=0)
    await east.acknowledge()
    await east.report(blue, running=0, zero_reports=2)
    await still_runs(chat, blue)
    await west.acknowledge()
    await west.report(blue, running=0, zero_reports=2)
    await chat.gone(blue)


async def test_reports_from_before_the_drain_say_nothing(chat: Deploying, east: Router) -> None:
    blue, _ = await switched(chat, east)
    await east.report(blue, running=0, zero_reports=9)
    await chat.close(blue)
    await east.acknowledge()
    await still_runs(chat, blue)


async def test_without_any_router_blue_is_kept_until_the_patience_for_routers_is_over(
    chat: Deploying,
    table: Table,
) -> None:
    blue, _ = await switched(chat)
    await chat.close(blue, timeout_seconds=0)
    await still_runs(chat, blue)
    async with table.transaction() as tx:
        past = datetime.now(UTC) - timedelta(seconds=31)
        await tx.execute(update(RouteSet).where(RouteSet.id == blue).values(drain_deadline=past))
        await tx.execute(wake_up(chat.name, 0))
    await chat.gone(blue)


async def test_a_green_that_was_never_live_stops_at_once_without_routers(chat: Deploying) -> None:
    green = await chat.open({"command": server()}, replicas=2)
    await chat.healthy(2)
    await chat.close(green)
    await chat.gone(green)


async def test_a_green_that_still_starts_stops_at_once(chat: Deploying, east: Router) -> None:
    await chat.make_live({"command": server()})
    await east.connect()
    green = await chat.open({"command": script("import time; time.sleep(60)")}, replicas=1)

    async def has_begun() -> bool:
        return {len(processes_of(route.id)) for route in await chat.routes(green)} == {1}

    await until(has_begun)
    await chat.close(green)
    await until(lambda: chat.routes(green, ended=True))
    routes = await chat.routes(green, ended=True)
    assert not any(processes_of(route.id) for route in routes)


async def test_a_draining_set_is_not_refilled(chat: Deploying, east: Router) -> None:
    blue, replicas = await switched(chat, east)
    await chat.close(blue)
    for pid in processes_of(replicas[0].id):
        os.kill(pid, signal.SIGKILL)
    await chat.ended(1, blue)
    await still_runs(chat, blue, count=1)


async def test_a_set_that_is_opened_again_is_not_stopped(chat: Deploying, east: Router) -> None:
    blue, replicas = await switched(chat, east)
    await chat.close(blue)
    await chat.switch_back()
    await east.acknowledge()
    await east.report(blue, running=0, zero_reports=2)
    await still_runs(chat, blue)
    assert {route.id for route in await chat.routes(blue)} == {route.id for route in replicas}


async def test_a_drain_that_was_half_done_when_blue_was_opened_again_is_made_good(
    chat: Deploying,
    east: Router,
    table: Table,
) -> None:
    blue, replicas = await switched(chat, east)
    async with table.transaction() as tx:
        row = await tx.get_one(Route, replicas[0].id)
        row.status = RouteStatus.TERMINATING
        await tx.execute(wake_up(chat.name, 0))
    routes = await chat.healthy(2, blue)
    assert replicas[0].id not in {route.id for route in routes}


async def test_a_set_of_which_nothing_runs_is_gone_at_once(chat: Deploying, east: Router) -> None:
    green = await chat.open({"command": script("raise SystemExit(1)")}, replicas=1, max_replacements=0)
    await east.connect()
    await chat.ended(1)
    await chat.close(green)
    await chat.gone(green)


@pytest.mark.parametrize("after", [0, 0.02, 0.05, 0.1])
async def test_a_green_that_is_closed_while_it_is_filled_leaves_nothing(chat: Deploying, after: float) -> None:
    green = await chat.open({"command": server()}, replicas=3)
    await asyncio.sleep(after)
    await chat.close(green)
    await chat.gone(green)
    routes = await chat.routes(green, ended=None)
    assert all(route.ended_at is not None for route in routes)
    assert not any(processes_of(route.id) for route in routes)
