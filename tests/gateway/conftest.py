"""Whole running parts: replicas, a gateway's server, an Envoy."""

import atexit
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import count
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from celadon.domain.decisions.publication import Publication, SetRole
from celadon.domain.language.names import Epoch, RouterNode, RouteSetId
from celadon.domain.language.traffic import DEFAULT_SETTINGS, TrafficSettings
from celadon.gateway.addresses import GatewayAddress, UnixAddress
from celadon.gateway.load_reports import Drainee, DrainLoad
from celadon.gateway.metrics import GatewayMetrics
from celadon.gateway.peers import Speaker
from celadon.gateway.routing import Routing
from celadon.gateway.server import Admission, XdsServer
from celadon.stack.ports import choose_ports
from tests.gateway.replica import Replica
from tests.gateway.router import Router, running_router, until
from tests.gateway.traffic import BLUE, before_switch, publication, routing


def free_port() -> int:
    """Return a port on which nobody listens, nor will soon."""
    return choose_ports(("test",), {})["test"]


def free_socket() -> UnixAddress:
    """Return a Unix socket on which nobody listens, in a directory that goes with the test run."""
    return UnixAddress(path=_sockets() / f"{next(_numbers)}.sock")


@cache
def _sockets() -> Path:
    """Return a directory for this user alone, with a path that is short enough for sockets."""
    directory = tempfile.mkdtemp(prefix="celadon-test-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


_numbers = count(1)


class Everybody:
    """Lets every peer speak for every router."""

    async def refusal(self, speaker: Speaker) -> str | None:
        """Refuse nobody."""
        return self.refusal_now(speaker)

    def refusal_now(self, speaker: Speaker) -> str | None:  # noqa: ARG002
        """Refuse nobody."""
        return None


@dataclass
class Heard:
    """Takes down what routers say, for tests to read."""

    connections: list[RouterNode] = field(default_factory=list)
    takes_limits: dict[RouterNode, bool] = field(default_factory=dict)
    gone: list[RouterNode] = field(default_factory=list)
    epochs: dict[tuple[RouterNode, str], Epoch] = field(default_factory=dict)
    batches: list[dict[str, Epoch]] = field(default_factory=list)
    refusals: dict[RouterNode, str] = field(default_factory=dict)
    loads: dict[Drainee, DrainLoad] = field(default_factory=dict)
    all_loads: list[DrainLoad] = field(default_factory=list)
    failovers: Counter[RouteSetId] = field(default_factory=Counter)

    def connected(
        self,
        node: RouterNode,
        certificate_expires_at: datetime | None,  # noqa: ARG002
        *,
        takes_limits: bool = True,
    ) -> None:
        """Note a stream."""
        self.connections.append(node)
        self.takes_limits[node] = takes_limits

    def disconnected(self, node: RouterNode) -> None:
        """Note the end of a stream."""
        self.gone.append(node)

    def acknowledged(self, node: RouterNode, epochs: Mapping[str, Epoch]) -> None:
        """Note acknowledged epochs."""
        self.batches.append(dict(epochs))
        self.epochs.update({(node, name): epoch for name, epoch in epochs.items()})

    def refused(self, node: RouterNode, why: str) -> None:
        """Note a refusal, or that there is none any more."""
        self.refusals[node] = why

    def loaded(self, node: RouterNode, loads: Mapping[Drainee, tuple[DrainLoad, Epoch]]) -> None:  # noqa: ARG002
        """Note loads."""
        self.loads.update({drainee: load for drainee, (load, _) in loads.items()})
        self.all_loads.extend(load for load, _ in loads.values())

    def failed_over(self, node: RouterNode, sent: Mapping[RouteSetId, int]) -> None:  # noqa: ARG002
        """Count requests that went to fallbacks."""
        self.failovers.update(sent)

    def epoch(self, deployment: str = "chat", node: str = "router") -> int:
        """Return the epoch that a router serves, -1 before the first."""
        return self.epochs.get((RouterNode(node), deployment), -1)


@dataclass
class Gateway:
    """A server, what it hears, and the address at which it can be replaced by another."""

    server: XdsServer
    heard: Heard
    metrics: GatewayMetrics
    routing: Routing
    address: GatewayAddress

    async def tell(self, *publications: Publication) -> None:
        """Publish and wait until the router serves it."""
        self.server.publish(publications)
        await until(lambda: all(self.heard.epoch(one.deployment) >= one.epoch for one in publications))

    def sent(self, kind: str) -> int:
        """Return how many resources of a type were sent so far."""
        value = self.metrics.registry.get_sample_value("celadon_gateway_resources_total", {"type": kind})
        return int(value or 0)


@asynccontextmanager
async def serving(
    publications: list[Publication],
    made_routing: Routing,
    address: GatewayAddress | None = None,
    credentials: grpc.ServerCredentials | None = None,
    admission: Admission | None = None,
) -> AsyncIterator[Gateway]:
    """Run a gateway's server until the block ends: on a socket of its own, and believing everybody, unless told."""
    heard, metrics = Heard(), GatewayMetrics()
    server = XdsServer(made_routing, publications, heard, metrics, admission or Everybody())
    listens_on = address or free_socket()
    await server.start(listens_on, credentials)
    try:
        yield Gateway(server, heard, metrics, made_routing, listens_on)
    finally:
        await server.stop()


@asynccontextmanager
async def router_of(
    made: Routing, directory: Path, *ports: int, settings: TrafficSettings = DEFAULT_SETTINGS
) -> AsyncIterator[Router]:
    """Run a gateway and a router for the deployment chat, whose live replicas listen on these ports, for gRPC too."""
    assert made.preview is not None
    grpc = dict(zip(ports, ports, strict=True))
    told = [publication(1, {(BLUE, SetRole.LIVE): ports}, grpc=grpc, settings=settings)]
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(serving(told, made))
        running = running_router(directory, gateway.address, made.live.port, made.preview.port)
        router = await stack.enter_async_context(running)
        await until(lambda: gateway.heard.epoch() == 1)
        await until(router.listens)
        yield router


@pytest.fixture
def ports() -> Routing:
    """Return routing with both listeners on free ports."""
    return routing(free_port(), free_port())


@pytest_asyncio.fixture(loop_scope="session")
async def blue() -> AsyncIterator[Replica]:
    """Run a blue replica."""
    async with Replica("blue").listening() as replica:
        yield replica


@pytest_asyncio.fixture(loop_scope="session")
async def green() -> AsyncIterator[Replica]:
    """Run a green replica."""
    async with Replica("green").listening() as replica:
        yield replica


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(blue: Replica, green: Replica, ports: Routing) -> AsyncIterator[Gateway]:
    """Run a server that has the deployment chat, before its switch, as epoch 1."""
    async with serving([before_switch(1, [blue.port], [green.port])], ports) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def router(gateway: Gateway, tmp_path: Path) -> AsyncIterator[Router]:
    """Run a router that serves epoch 1."""
    assert gateway.routing.preview is not None
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(
            running_router(
                tmp_path,
                gateway.address,
                gateway.routing.live.port,
                gateway.routing.preview.port,
            ),
        )
        await until(lambda: gateway.heard.epoch() == 1)
        await until(made.listens)
        yield made
