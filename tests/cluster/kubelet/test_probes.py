"""The probes of a container, against servers that answer."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from lightkube.models.core_v1 import Container, ContainerPort, ExecAction, HTTPGetAction, Probe, TCPSocketAction

from celadon.racing import wait_at_most
from tests.cluster.kubelet.probes import Action, Probing, Target

DEADLINE_SECONDS = 60.0


class Server:
    """A server that answers with a status of the test's choice."""

    status = 200


@pytest.fixture
def server() -> Server:
    return Server()


@pytest_asyncio.fixture(loop_scope="session")
async def target(server: Server) -> AsyncIterator[Target]:
    """Return a container that serves."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=server.status)

    application = web.Application()
    application.router.add_get("/health", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    yield Target("127.0.0.1", [ContainerPort(name="http", containerPort=port)], {})
    await runner.cleanup()


@pytest.mark.parametrize(
    ("action", "succeeds"),
    [
        (Action(http=HTTPGetAction(port="http", path="/health")), True),
        (Action(http=HTTPGetAction(port="http", path="/other")), False),
        (Action(http=HTTPGetAction(port="none", path="/health")), False),
        (Action(tcp=TCPSocketAction(port="http")), True),
        (Action(tcp=TCPSocketAction(port=1)), False),
        (Action(command=ExecAction(command=[sys.executable, "-S", "-c", ""])), True),
        (Action(command=ExecAction(command=[sys.executable, "-S", "-c", "exit(1)"])), False),
        (Action(command=ExecAction(command=["no-such-program"])), False),
        (Action(), False),
    ],
)
async def test_actions_succeed_when_the_container_answers(target: Target, action: Action, succeeds: bool) -> None:  # noqa: FBT001
    assert await target.succeeds(action, DEADLINE_SECONDS) is succeeds


class Watched:
    """Probing of a container, with an event for each change."""

    def __init__(self, target: Target, container: Container) -> None:
        self.changed = asyncio.Event()
        self.probing = Probing(container, target, self.changed.set)

    async def until(self, *, started: bool, ready: bool) -> None:
        """Wait until the probes say so."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (self.probing.started, self.probing.ready) != (started, ready):
                self.changed.clear()
                await wait_at_most(self.changed, 1)


def probe(failures: int) -> Probe:
    """Return a probe that asks for health every second and gives up after some failures."""
    return Probe(httpGet=HTTPGetAction(port="http", path="/health"), periodSeconds=1, failureThreshold=failures)


async def test_a_container_without_probes_is_ready_at_once(target: Target) -> None:
    watched = Watched(target, Container(name="server"))
    task = asyncio.create_task(watched.probing.run())

    await watched.until(started=True, ready=True)

    assert not task.done()
    task.cancel()


async def test_readiness_follows_the_answers(target: Target, server: Server) -> None:
    watched = Watched(target, Container(name="server", readinessProbe=probe(failures=1)))
    task = asyncio.create_task(watched.probing.run())
    await watched.until(started=True, ready=True)

    server.status = 503
    await watched.until(started=True, ready=False)
    server.status = 200
    await watched.until(started=True, ready=True)
    task.cancel()


async def test_a_container_that_does_not_start_in_time_is_to_be_killed(target: Target, server: Server) -> None:
    server.status = 503
    watched = Watched(target, Container(name="server", startupProbe=probe(failures=1)))

    async with asyncio.timeout(DEADLINE_SECONDS):
        await watched.probing.run()

    assert not watched.probing.started


async def test_a_dead_container_is_to_be_killed(target: Target, server: Server) -> None:
    watched = Watched(target, Container(name="server", livenessProbe=probe(failures=2)))
    task = asyncio.create_task(watched.probing.run())
    await watched.until(started=True, ready=True)

    server.status = 503

    async with asyncio.timeout(DEADLINE_SECONDS):
        await task
