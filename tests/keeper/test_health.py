"""Health of replicas: told on edges only, in one transaction with the signal."""

import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from celadon.domain.language.states import RouteHealthStatus, SetCondition
from tests.keeper.rollouts import HEALTH_CHECK, Deploying
from tests.keeper.running import Rollouts, Running
from tests.provisioners.programs import script, server, until

pytestmark = pytest.mark.parts


@dataclass(frozen=True)
class Illness:
    """What makes replicas answer 500."""

    file: Path

    def begin(self) -> None:
        """Make them sick."""
        self.file.touch()

    def end(self) -> None:
        """Make them well."""
        self.file.unlink()


@pytest.fixture
def illness(tmp_path: Path) -> Illness:
    return Illness(tmp_path / "sick")


async def test_health_goes_down_and_up_by_edges(
    keeper: Running,
    chat: Deploying,
    rollouts: Rollouts,
    illness: Illness,
) -> None:
    await chat.open({"command": server(), "env": {"SICK_FILE": str(illness.file)}}, replicas=1)
    await chat.healthy(1)
    illness.begin()

    async def is_unhealthy() -> bool:
        return (await chat.routes())[0].health is RouteHealthStatus.UNHEALTHY

    await until(is_unhealthy)
    [route] = await chat.routes()
    assert route.last_error.startswith("GET /health: answered 500")
    illness.end()
    await chat.healthy(1)
    await until(lambda: rollouts.conditions(chat.name) == ["running", "ready", "running", "ready"])
    assert [payload["seq"] for *_, payload in rollouts.heard] == [1, 2, 3, 4]
    assert str(rollouts.heard[2][2]["last_error"]).startswith("GET /health: answered 500")
    del keeper


async def test_an_unhealthy_replica_that_runs_is_not_stopped(
    keeper: Running,
    chat: Deploying,
    illness: Illness,
) -> None:
    illness.begin()
    await chat.open({"command": server(), "env": {"SICK_FILE": str(illness.file)}}, replicas=1)
    await until(lambda: keeper.metric("celadon_keeper_probes_total", result="failed") >= 5)
    [route] = await chat.routes()
    assert route.health is RouteHealthStatus.UNHEALTHY


async def test_probes_that_say_the_same_write_nothing(keeper: Running, chat: Deploying) -> None:
    await chat.open({"command": server()}, replicas=1)
    await chat.healthy(1)
    epoch = await chat.epoch()
    passed = keeper.metric("celadon_keeper_probes_total", result="passed")
    await until(lambda: keeper.metric("celadon_keeper_probes_total", result="passed") >= passed + 5)
    assert await chat.epoch() == epoch


async def test_a_health_path_that_hangs_fails_its_probes(keeper: Running, chat: Deploying) -> None:
    check = {**HEALTH_CHECK, "timeout": "100ms"}

    async def is_unhealthy() -> bool:
        return [route.health for route in await chat.routes()] == [RouteHealthStatus.UNHEALTHY]

    # It listens before anybody probes it, as a program that has just been started may not.
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        endpoint = f"127.0.0.1:{hangs.getsockname()[1]}"
        revision = {"provisioner": "static", "endpoints": [endpoint], "health_check": check}
        await chat.open(revision, replicas=1)
        await until(is_unhealthy)
    assert (await chat.routes())[0].last_error == "GET /health: no answer within 0.1s"
    del keeper


async def test_a_port_that_accepts_is_healthy_when_the_revision_says_tcp(keeper: Running, chat: Deploying) -> None:
    code = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
    await chat.open(
        {"command": (*script(code), "{port}"), "health_check": {"tcp": True, "interval": "100ms"}}, replicas=1
    )
    await chat.healthy(1)
    del keeper


async def test_an_edge_that_was_asked_for_is_told_again(
    keeper: Running,
    chat: Deploying,
    rollouts: Rollouts,
) -> None:
    await chat.open({"command": server()}, replicas=1)
    await until(lambda: rollouts.conditions(chat.name)[-1:] == ["ready"])
    told = len(rollouts.heard)
    await chat.ask_for_edge()
    await until(lambda: len(rollouts.heard) > told)
    assert rollouts.conditions(chat.name)[-1] == "ready"
    assert (await chat.set_row()).condition is SetCondition.READY
    del keeper


async def test_a_completed_rollout_hears_nothing_more(
    keeper: Running,
    chat: Deploying,
    rollouts: Rollouts,
    illness: Illness,
) -> None:
    await chat.make_live({"command": server(), "env": {"SICK_FILE": str(illness.file)}})
    await until(lambda: rollouts.conditions(chat.name)[-1:] == ["ready"])
    told = len(rollouts.heard)
    illness.begin()

    async def is_unhealthy() -> bool:
        return (await chat.routes())[0].health is RouteHealthStatus.UNHEALTHY

    await until(is_unhealthy)
    await asyncio.sleep(0.2)
    assert len(rollouts.heard) == told
    assert not await chat.owed()
    del keeper
