"""Members that leave a live set stop only when every live router lets them."""

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from celadon.domain.language.states import DeploymentLifecycle, RouteHealthStatus, RouteStatus
from celadon.table.core.engine import Table
from celadon.table.core.models import Route
from tests.keeper.rollouts import Deploying
from tests.keeper.routers import Router
from tests.keeper.running import Rollouts, Running, running_keeper
from tests.provisioners.programs import processes_of, server, until, until_found

A_WHILE = 0.7
"""Longer than the keeper takes to decide."""


async def live(
    chat: Deploying,
    replicas: int,
    *routers: Router,
    env: Mapping[str, str] | None = None,
    **policy: object,
) -> list[Route]:
    """Make a revision live with these routers; return its replicas."""
    await chat.open({"command": server(), "env": {**(env or {})}}, replicas, **policy)
    routes = await chat.healthy(replicas)
    await chat.switch()
    await chat.finish()
    for router in routers:
        await router.connect()
    return routes


async def leaving(chat: Deploying, count: int) -> list[Route]:
    """Wait until exactly so many replicas leave; return them."""

    async def found() -> list[Route] | None:
        gone = [one for one in await chat.routes() if one.leaving_epoch is not None]
        return gone if len(gone) == count and all(one.status is RouteStatus.RUNNING for one in gone) else None

    return await until_found(found)


async def still_run(chat: Deploying, *routes: Route) -> None:
    await asyncio.sleep(A_WHILE)
    running = {one.id for one in await chat.routes() if one.status is RouteStatus.RUNNING}
    assert {one.id for one in routes} <= running
    assert all(processes_of(one.id) for one in routes)


@pytest.mark.usefixtures("keeper")
async def test_a_member_stops_when_every_router_has_reported_two_zeros_of_it(
    chat: Deploying,
    east: Router,
    west: Router,
) -> None:
    _, second = await live(chat, 2, east, west)
    await chat.scale(1)
    [gone] = await leaving(chat, 1)
    assert gone.id == second.id
    await east.acknowledge()
    await east.report_departure(gone, running=0, zero_reports=2)
    await still_run(chat, gone)
    await west.acknowledge()
    await west.report_departure(gone, running=1)
    await still_run(chat, gone)
    await west.report_departure(gone, running=0, zero_reports=1)
    await still_run(chat, gone)

    await west.report_departure(gone, running=0, zero_reports=2)

    [ended] = await chat.ended(1)
    assert (ended.id, ended.status, ended.requests_cut) == (gone.id, RouteStatus.TERMINATED, 0)
    await chat.healthy(1)
    assert not processes_of(gone.id)


@pytest.mark.usefixtures("keeper")
async def test_zeros_of_a_router_that_has_not_acknowledged_help_nobody_even_at_the_deadline(
    chat: Deploying,
    east: Router,
) -> None:
    await live(chat, 2, east, drain_timeout="0s")
    await chat.scale(1)
    [gone] = await leaving(chat, 1)
    await east.report_departure(gone, running=0, zero_reports=2)
    await still_run(chat, gone)

    await east.acknowledge()

    await chat.ended(1)


@pytest.mark.usefixtures("keeper")
async def test_requests_that_still_run_at_the_deadline_are_cut_and_counted(
    chat: Deploying,
    east: Router,
    west: Router,
) -> None:
    await live(chat, 2, east, west, drain_timeout="1s")
    await chat.scale(1)
    [gone] = await leaving(chat, 1)
    # What is cut is decided when all have acknowledged; the deadline may have passed by then.
    for router, running in ((east, 3), (west, 2)):
        await router.report_departure(gone, running=running)
    for router in (east, west):
        await router.acknowledge()

    [ended] = await chat.ended(1)

    assert ended.requests_cut == 5
    [event] = await chat.events("requests_cut")
    assert event.evidence == {"route": gone.id, "requests": "5"}


@pytest.mark.usefixtures("keeper")
async def test_the_unhealthy_one_leaves_first(chat: Deploying, east: Router, tmp_path: Path) -> None:
    sick = tmp_path / "sick"
    first, second = await live(chat, 2, east, env={"SICK_FILE": str(sick)})
    (tmp_path / f"sick.{second.port}").touch()

    async def is_sick() -> bool:
        return RouteHealthStatus.UNHEALTHY in {one.health for one in await chat.routes()}

    await until(is_sick)
    await chat.scale(3)
    await until(lambda: third_is_there(chat))

    await chat.scale(2)

    [gone] = await leaving(chat, 1)
    assert gone.id == second.id
    assert first.id in {one.id for one in await chat.routes() if one.leaving_epoch is None}


async def third_is_there(chat: Deploying) -> bool:
    return [one.health for one in await chat.routes()].count(RouteHealthStatus.HEALTHY) == 2


@pytest.mark.usefixtures("keeper")
async def test_a_scaling_that_is_taken_back_takes_the_members_back(chat: Deploying, east: Router) -> None:
    routes = await live(chat, 3, east)
    await chat.scale(1)
    gone = await leaving(chat, 2)

    await chat.scale(3)
    await east.acknowledge()
    for one in gone:
        await east.report_departure(one, running=0, zero_reports=2)

    await still_run(chat, *routes)
    assert {one.id for one in await chat.healthy(3)} == {one.id for one in routes}


@pytest.mark.usefixtures("keeper")
async def test_when_a_member_dies_one_that_leaves_takes_its_place(chat: Deploying, east: Router) -> None:
    first, second = await live(chat, 2, east)
    await chat.scale(1)
    await leaving(chat, 1)

    for pid in processes_of(first.id):
        os.kill(pid, signal.SIGKILL)
    await chat.ended(1)

    [stays] = await chat.healthy(1)
    assert (stays.id, stays.leaving_epoch) == (second.id, None)


@pytest.mark.usefixtures("keeper")
async def test_a_set_can_be_scaled_to_nothing_and_back(chat: Deploying, east: Router) -> None:
    await live(chat, 2, east)
    await chat.scale(0)
    for one in await leaving(chat, 2):
        await east.acknowledge()
        await east.report_departure(one, running=0, zero_reports=2)
    await chat.ended(2)

    await chat.scale(2)

    await chat.healthy(2)


@pytest.mark.usefixtures("keeper")
async def test_a_set_that_drains_takes_its_leaving_members_with_it(chat: Deploying, east: Router) -> None:
    await live(chat, 2, east)
    blue = chat.green
    await chat.scale(1)
    await leaving(chat, 1)
    await chat.open({"command": server(), "env": {"VERSION": "2"}}, 1)
    await chat.healthy(1)
    await chat.switch()
    await chat.close(blue)
    await east.acknowledge()

    await east.report(blue, running=0, zero_reports=2)

    await chat.gone(blue)
    assert len(await chat.routes(blue, ended=True)) == 2


@pytest.mark.usefixtures("keeper")
async def test_a_set_that_is_opened_again_goes_on_with_its_departures(chat: Deploying, east: Router) -> None:
    await live(chat, 2, east)
    blue = chat.green
    await chat.scale(1)
    [gone] = await leaving(chat, 1)
    await chat.open({"command": server(), "env": {"VERSION": "2"}}, 1)
    await chat.healthy(1)
    await chat.switch()
    await chat.close(blue)
    await chat.switch_back()
    await east.acknowledge()
    await asyncio.sleep(A_WHILE)
    assert {one.id for one in await chat.routes(blue, ended=None)} >= {gone.id}

    await east.report_departure(gone, running=0, zero_reports=2)

    assert [one.id for one in await chat.ended(1, blue)] == [gone.id]
    await chat.healthy(1, blue)


async def test_a_keeper_that_takes_over_ends_the_departures_of_the_one_before(
    table: Table,
    state_dir: Path,
    chat: Deploying,
    east: Router,
) -> None:
    async with running_keeper(table, state_dir, Rollouts(), holder="first"):
        await live(chat, 3, east)
        await chat.scale(1)
        gone = await leaving(chat, 2)
        await east.acknowledge()
        await east.report_departure(gone[0], running=0, zero_reports=2)
        await chat.ended(1)
    await east.report_departure(gone[1], running=0, zero_reports=2)

    async with running_keeper(table, state_dir, Rollouts(), holder="second"):
        assert {one.id for one in await chat.ended(2)} == {one.id for one in gone}
        await chat.healthy(1)


async def test_a_rollout_hears_at_once_that_its_green_was_scaled(
    keeper: Running,
    rollouts: Rollouts,
    chat: Deploying,
) -> None:
    await chat.open({"command": server()}, replicas=1)
    await chat.healthy(1)
    await until(lambda: rollouts.conditions(chat.name)[-1:] == ["ready"])
    told = len(rollouts.heard)

    await chat.scale(2)

    await until(lambda: len(rollouts.heard) > told)
    assert (rollouts.heard[told][2]["condition"], rollouts.heard[told][2]["scaled"]) == ("running", True)
    await until(lambda: rollouts.conditions(chat.name)[-1:] == ["ready"])
    assert keeper.metric("celadon_keeper_faults_total", part="outbox") == 0


async def test_without_routers_a_green_shrinks_at_once(keeper: Running, chat: Deploying) -> None:
    await chat.open({"command": server()}, replicas=3)
    await chat.healthy(3)

    await chat.scale(1)

    await chat.ended(2)
    await chat.healthy(1)
    assert keeper.metric("celadon_keeper_faults_total", part="set") == 0


@pytest.mark.usefixtures("keeper")
async def test_a_deleted_deployment_is_destroyed_when_its_replicas_have_drained(
    chat: Deploying,
    east: Router,
) -> None:
    routes = await live(chat, 2, east)
    await chat.delete()
    await east.acknowledge()
    await east.report(chat.green, running=1)
    await still_run(chat, *routes)
    assert (await chat.row()).lifecycle is DeploymentLifecycle.DESTROYING

    await east.report(chat.green, running=0, zero_reports=2)

    async def destroyed() -> bool:
        return (await chat.row()).lifecycle is DeploymentLifecycle.DESTROYED

    await until(destroyed)
    assert not any(processes_of(one.id) for one in routes)
