"""A gateway's server and one router under measurement, without table and rollouts."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import psutil

from celadon.domain.decisions.publication import DeploymentTraffic, Member, Publication, SetRole, SetTraffic, publish
from celadon.domain.language.names import DeploymentName, Epoch, RouteId, RouterNode, RouteSetId
from celadon.domain.language.states import RouteHealthStatus
from celadon.gateway.addresses import UnixAddress
from celadon.gateway.bootstrap import Json, bootstrap
from celadon.gateway.load_reports import Drainee, DrainLoad
from celadon.gateway.metrics import GatewayMetrics
from celadon.gateway.peers import Speaker
from celadon.gateway.routing import Routing
from celadon.gateway.server import XdsServer
from celadon.stack.programs import envoy_program

HOST: Final = "127.0.0.1"
PATIENCE_SECONDS: Final = 120.0
_NANOSECONDS_A_MS: Final = 1_000_000


class Journal:
    """Knows which deployments the router serves."""

    def __init__(self) -> None:
        """Begin with a router that serves none."""
        self.served: set[DeploymentName] = set()
        self._heard = asyncio.Event()

    def connected(
        self,
        node: RouterNode,
        certificate_expires_at: datetime | None,
        *,
        takes_limits: bool = True,
    ) -> None:
        """Pass over it."""

    def disconnected(self, node: RouterNode) -> None:
        """Pass over it."""

    def acknowledged(self, node: RouterNode, epochs: Mapping[DeploymentName, Epoch]) -> None:  # noqa: ARG002
        """Note the deployments."""
        self.served |= epochs.keys()
        self._heard.set()

    def refused(self, node: RouterNode, why: str) -> None:
        """Pass over it: what is refused is waited for in vain."""

    def loaded(self, node: RouterNode, loads: Mapping[Drainee, tuple[DrainLoad, Epoch]]) -> None:
        """Pass over it."""

    def failed_over(self, node: RouterNode, sent: Mapping[RouteSetId, int]) -> None:
        """Pass over it."""

    async def serves(self, names: set[DeploymentName]) -> None:
        """Wait until the router serves these deployments."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not names <= self.served:
                self._heard.clear()
                await self._heard.wait()


class _Everybody:
    """Believes every peer: there is one, on a socket of this user."""

    async def refusal(self, speaker: Speaker) -> str | None:
        return self.refusal_now(speaker)

    def refusal_now(self, speaker: Speaker) -> str | None:  # noqa: ARG002
        return None


def published(name: DeploymentName, *ports: int) -> Publication:
    """Return what is published of a deployment with live replicas at these ports."""
    members = tuple(
        Member(
            route=RouteId(f"{name}-{port}"),
            host=HOST,
            http=port,
            health=RouteHealthStatus.HEALTHY,
            leaving_epoch=None,
        )
        for port in ports
    )
    live = SetTraffic(route_set=RouteSetId(1), role=SetRole.LIVE, wanted=len(ports), members=members)
    return publish(DeploymentTraffic(deployment=name, epoch=Epoch(1), routed=True, sets=(live,)))


@dataclass(frozen=True)
class Envoy:
    """A running Envoy."""

    process: psutil.Process
    admin: Path
    """The socket of its admin interface."""

    @property
    def cpu_ms(self) -> float:
        """Return the processor time that it has used."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text("ascii").split()[0]) for task in tasks) / _NANOSECONDS_A_MS


@asynccontextmanager
async def running_envoy(configuration: Json, directory: Path) -> AsyncIterator[Envoy]:
    """Run an Envoy with two threads for its work until the block ends; its admin interface is in the directory."""
    file = directory / "envoy.json"
    file.write_text(json.dumps(configuration))
    command = [str(envoy_program()), "-c", str(file), "--concurrency", "2", "--disable-hot-restart"]
    with (directory / "envoy.log").open("wb") as log:
        envoy = await asyncio.create_subprocess_exec(
            *command, "--log-level", "error", stdout=subprocess.DEVNULL, stderr=log
        )
    try:
        yield Envoy(psutil.Process(envoy.pid), admin_socket(directory))
    finally:
        envoy.kill()
        await envoy.wait()


def admin_socket(directory: Path) -> Path:
    """Return where an Envoy of a directory has its admin interface."""
    return directory / "admin.sock"


@asynccontextmanager
async def running_gateway(
    routing: Routing, publications: list[Publication], directory: Path
) -> AsyncIterator[tuple[XdsServer, Journal, Envoy]]:
    """Run a gateway's server and a router until the block ends; the router serves all publications then."""
    address = UnixAddress(path=directory / "gateway.sock")
    journal = Journal()
    server = XdsServer(routing, (), journal, GatewayMetrics(), _Everybody())
    server.publish(publications)
    await server.start(address)
    try:
        configuration = bootstrap(RouterNode("bench"), [address], admin_socket(directory))
        async with running_envoy(configuration, directory) as envoy:
            await journal.serves({one.deployment for one in publications})
            yield server, journal, envoy
    finally:
        await server.stop()
