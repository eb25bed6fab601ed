"""Whole running parts: replicas, a gateway's server, an Envoy."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from celadon.domain.names import Epoch, RouterNode
from celadon.domain.publication import Publication
from celadon.gateway.load_reports import Drainee, DrainLoad
from celadon.gateway.metrics import GatewayMetrics
from celadon.gateway.routing import Routing
from celadon.gateway.server import XdsServer
from celadon.stack.ports import choose_ports
from tests.gateway.replica import Replica
from tests.gateway.router import Router, running_router, until
from tests.gateway.traffic import before_switch, loopback, routing


def free_port() -> int:
    """Return a port on which nobody listens, nor will soon."""
    return choose_ports(("test",), {})["test"]


@dataclass
class Heard:
    """Takes down what routers say, for tests to read."""

    connections: list[RouterNode] = field(default_factory=list)
    gone: list[RouterNode] = field(default_factory=list)
    epochs: dict[tuple[RouterNode, str], Epoch] = field(default_factory=dict)
    batches: list[dict[str, Epoch]] = field(default_factory=list)
    refusals: dict[RouterNode, str] = field(default_factory=dict)
    loads: dict[Drainee, DrainLoad] = field(default_factory=dict)
    all_loads: list[DrainLoad] = field(default_factory=list)

    def connected(self, node: RouterNode) -> None:
        """Note a stream."""
        self.connections.append(node)

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

    def epoch(self, deployment: str = "chat", node: str = "router") -> int:
        """Return the epoch that a router serves, -1 before the first."""
        return self.epochs.get((RouterNode(node), deployment), -1)


@dataclass
class Gateway:
    """A server, what it hears, and the port on which it can be replaced by another."""

    server: XdsServer
    heard: Heard
    metrics: GatewayMetrics
    routing: Routing
    port: int

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
    port: int,
) -> AsyncIterator[Gateway]:
    """Run a gateway's server until the block ends."""
    heard, metrics = Heard(), GatewayMetrics()
    server = XdsServer(made_routing, publications, heard, metrics)
    await server.start(loopback(port))
    try:
        yield Gateway(server, heard, metrics, made_routing, port)
    finally:
        await server.stop()


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
    async with serving([before_switch(1, [blue.port], [green.port])], ports, free_port()) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def router(gateway: Gateway, tmp_path: Path) -> AsyncIterator[Router]:
    """Run a router that serves epoch 1."""
    assert gateway.routing.preview is not None
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(
            running_router(
                tmp_path,
                gateway.port,
                gateway.routing.live.port,
                gateway.routing.preview.port,
                free_port(),
            ),
        )
        await until(lambda: gateway.heard.epoch() == 1)
        await until(made.listens)
        yield made
