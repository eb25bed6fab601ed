"""Open sets are kept full of replicas that run."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from celadon.domain.language.states import RouteHealthStatus, RouteStatus, SetCondition
from celadon.provisioners.claims import ProcessClaim
from celadon.table.core.models import Route
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, Running
from tests.provisioners.programs import processes_of, script, server, until

pytestmark = pytest.mark.usefixtures("keeper")


def kill(state_dir: Path, route: Route) -> None:
    """Let a replica crash."""
    pid = ProcessClaim.parse((state_dir / f"{route.id}.claim").read_text()).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def test_a_set_is_filled_and_becomes_healthy(keeper: Running, chat: Deploying, rollouts: Rollouts) -> None:
    await chat.open({"command": server()}, replicas=3)
    routes = await chat.healthy(3)
    assert len({route.port for route in routes}) == 3
    assert all(route.started_at is not None for route in routes)
    assert (await chat.set_row()).condition is SetCondition.READY
    await until(lambda: rollouts.conditions(chat.name)[-1:] == ["ready"])
    assert keeper.metric("celadon_keeper_lease_held") == 1
    await until(lambda: keeper.metric("celadon_keeper_replicas", status="running", health="healthy") == 3)


async def test_a_set_that_wants_nothing_is_ready(chat: Deploying, rollouts: Rollouts) -> None:
    await chat.open({"command": server()}, replicas=0)
    await until(lambda: rollouts.conditions(chat.name) == ["ready"])


async def test_a_crashed_replica_is_replaced_with_its_last_lines_kept(
    chat: Deploying,
    state_dir: Path,
    rollouts: Rollouts,
) -> None:
    await chat.open({"command": server()}, replicas=2)
    first, second = await chat.healthy(2)
    kill(state_dir, first)
    [crashed] = await chat.ended(1)
    assert crashed.id == first.id
    assert crashed.status is RouteStatus.TERMINATED
    assert crashed.last_error == "was ended by SIGKILL"
    assert crashed.output == "replica begins"
    assert second.id in {route.id for route in await chat.healthy(2)}
    assert (await chat.set_row()).replacements == 1
    await until(lambda: rollouts.conditions(chat.name)[-2:] == ["running", "ready"])
    [event] = await chat.events("replica_failed")
    assert event.evidence["route"] == first.id


async def test_a_replica_that_ends_at_once_fails_to_start_and_its_set_fails(
    chat: Deploying,
    rollouts: Rollouts,
) -> None:
    command = script("import sys; print('no weights', file=sys.stderr); sys.exit(7)")
    await chat.open({"command": command}, replicas=2, max_replacements=3)
    await until(lambda: rollouts.conditions(chat.name)[-1:] == ["failed"])

    async def is_over() -> bool:
        return await chat.routes() == []

    # What was started beside the one whose end was the last that the policy forgives.
    await until(is_over)
    routes = await chat.ended(4)
    assert {route.status for route in routes} == {RouteStatus.FAILED_TO_START}
    assert {route.last_error for route in routes} == {"exited with code 7"}
    assert {route.output for route in routes} == {"no weights"}
    assert rollouts.heard[-1][2]["last_error"] == "exited with code 7: no weights (\u00d74)"
    assert (await chat.set_row()).condition is SetCondition.FAILED


async def test_a_failed_set_starts_nothing_more(chat: Deploying, rollouts: Rollouts) -> None:
    await chat.open({"command": script("raise SystemExit(1)")}, replicas=1, max_replacements=0)
    await until(lambda: rollouts.conditions(chat.name)[-1:] == ["failed"])
    await asyncio.sleep(0.8)
    assert len(await chat.routes(ended=None)) == 1


async def test_a_program_that_does_not_exist_fails_to_start(chat: Deploying) -> None:
    await chat.open({"command": ("/nowhere/no-such-program",)}, replicas=1, max_replacements=0)
    [route] = await chat.ended(1)
    assert route.status is RouteStatus.FAILED_TO_START
    assert route.last_error == "cannot execute '/nowhere/no-such-program': No such file or directory"


async def test_a_live_set_is_refilled_without_end(chat: Deploying, state_dir: Path) -> None:
    await chat.open({"command": server()}, replicas=1, max_replacements=0)
    await chat.healthy(1)
    await chat.switch()
    for crashes in (1, 2):
        [route] = await chat.healthy(1)
        kill(state_dir, route)
        await chat.ended(crashes)
    await chat.healthy(1)
    assert (await chat.set_row()).condition is SetCondition.READY


async def test_the_newest_replicas_leave_when_fewer_are_wanted(chat: Deploying) -> None:
    await chat.open({"command": server()}, replicas=3)
    routes = sorted(await chat.healthy(3), key=lambda route: route.created_at)
    await chat.scale(1)
    ended = await chat.ended(2)
    assert {route.id for route in ended} == {route.id for route in routes[1:]}
    assert {route.status for route in ended} == {RouteStatus.TERMINATED}
    assert [route.id for route in await chat.healthy(1)] == [routes[0].id]
    assert (await chat.set_row()).replacements == 0
    assert not any(processes_of(route.id) for route in ended)


async def test_more_replicas_start_when_more_are_wanted(chat: Deploying) -> None:
    await chat.open({"command": server()}, replicas=1)
    await chat.healthy(1)
    await chat.scale(2)
    await chat.healthy(2)


async def test_endpoints_of_a_static_revision_become_replicas(chat: Deploying) -> None:
    # The kernel completes connections by itself; nobody has to take them.
    endpoint = socket.create_server(("127.0.0.1", 0), backlog=1000)
    port = endpoint.getsockname()[1]
    revision = {
        "provisioner": "static",
        "endpoints": [f"127.0.0.1:{port}"],
        "health_check": {"tcp": True, "interval": "100ms", "failure_threshold": 2},
    }
    with endpoint:
        await chat.open(revision, replicas=1)
        [route] = await chat.healthy(1)
        assert (route.host, route.port) == ("127.0.0.1", port)

    async def is_unhealthy() -> bool:
        return [route.health for route in await chat.routes()] == [RouteHealthStatus.UNHEALTHY]

    await until(is_unhealthy)
