"""What one more deployment costs a gateway and its router, and whether the last address costs more than the first.

A gateway's server and one Envoy, without table and rollouts: deployments have one endpoint each, at a server that
answers at once. One deployment after the other is added, each until the router has acknowledged the route to it; then
requests go by path to the deployment that is first by name and to the one that is last, in turns.

    python -m bench.addresses --deployments 1000 5000 --additions 10 --requests 4000
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, cast

from bench.figures import spread
from bench.gateway import HOST, Envoy, Journal, published, running_gateway
from bench.report import Cell, Grid, run_bench
from celadon.domain.decisions.publication import Publication
from celadon.domain.language.names import DeploymentName
from celadon.gateway.addresses import SocketAddress
from celadon.gateway.resources import ResourceType
from celadon.gateway.routing import Routing
from celadon.gateway.server import XdsServer
from celadon.gateway.snapshot import Snapshot
from celadon.stack.ports import choose_ports

SETTLE_SECONDS: Final = 0.5
"""After an acknowledgement Envoy's workers still take the routes over."""

CONNECTIONS: Final = 4
ROUNDS: Final = 5
_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_PREVIEW_KEY: Final = "a-key-of-the-bench"


class _Upstream(asyncio.Protocol):
    """Answers each request at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))


@dataclass(frozen=True)
class _Running:
    """A gateway's server and a router that serves all of its deployments."""

    server: XdsServer
    journal: Journal
    router: Envoy
    routing: Routing
    upstream: int
    names: list[DeploymentName]

    def publication(self, name: DeploymentName) -> Publication:
        """Return what is published of a deployment."""
        return published(name, self.upstream)


@asynccontextmanager
async def _running(deployments: int) -> AsyncIterator[_Running]:
    ports = choose_ports(("live", "preview"), {})
    live, preview = (SocketAddress(host=HOST, port=ports[name]) for name in ("live", "preview"))
    routing = Routing(live, preview, _PREVIEW_KEY, timedelta(hours=1), ("localhost",))
    upstream = await asyncio.get_running_loop().create_server(_Upstream, HOST, 0)
    port = upstream.sockets[0].getsockname()[1]
    names = [f"d{n:05}" for n in range(deployments)]
    try:
        with tempfile.TemporaryDirectory(prefix="celadon-bench-") as directory:
            publications = [published(name, port) for name in names]
            async with running_gateway(routing, publications, Path(directory)) as (server, journal, router):
                yield _Running(server, journal, router, routing, port, names)
    finally:
        upstream.close()


async def _add(running: _Running, number: int) -> tuple[float, float, float]:
    """Add a deployment; return the milliseconds until its acknowledgement, and those of gateway and router."""
    # Names before, amidst and after the others.
    name = _name_of(number)
    publication = running.publication(name)
    router, gateway, began = running.router.cpu_ms, time.process_time(), time.perf_counter()
    running.server.publish([publication])
    await running.journal.serves({name})
    acknowledged = (time.perf_counter() - began) * 1000
    used = (time.process_time() - gateway) * 1000
    await asyncio.sleep(SETTLE_SECONDS)
    return acknowledged, used, running.router.cpu_ms - router


def _name_of(number: int) -> DeploymentName:
    return f"{'adz'[number % 3]}-{number}"


async def _ask(port: int, path: str, requests: int) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for _ in range(requests):
            writer.write(f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"GET {path}: {head.decode()}")
            await reader.readexactly(2)
    finally:
        writer.close()


async def _cost_of(running: _Running, path: str, requests: int) -> float:
    """Return the router's processor time for one request to a path, in milliseconds."""
    before = running.router.cpu_ms
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(_ask(running.routing.live.port, path, requests // CONNECTIONS))
    return (running.router.cpu_ms - before) / (requests // CONNECTIONS * CONNECTIONS)


async def measure_at(deployments: int, additions: int, requests: int) -> tuple[list[dict[str, Cell]], dict[str, Cell]]:
    """Measure beside so many deployments; return the rows of both tables."""
    async with _running(deployments) as running:
        snapshot = Snapshot(running.routing)
        for name in running.names:
            snapshot.publish(running.publication(name))
        sent = sum(len(one.wire) for one in snapshot.of(ResourceType.ROUTES).values())
        added = [await _add(running, number) for number in range(additions)]
        what = ("until the router's acknowledgement", "processor time of the gateway", "processor time of the router")
        rows: list[dict[str, Cell]] = [
            {"deployments": deployments, "routes sent, bytes": sent, "one more": text, **spread(list(taken))}
            for text, taken in zip(what, zip(*added, strict=True), strict=True)
        ]
        first, last = (f"/{running.names[place]}/x" for place in (0, -1))
        costs: dict[str, list[float]] = {first: [], last: []}
        await _cost_of(running, last, requests)
        for _ in range(ROUNDS):
            for path, taken in costs.items():
                taken.append(await _cost_of(running, path, requests))
        medians = [statistics.median(costs[path]) for path in (first, last)]
        by_path: dict[str, Cell] = {
            "deployments": deployments,
            "requests": requests * ROUNDS,
            "first ms": round(medians[0], 4),
            "last ms": round(medians[1], 4),
            "ratio": round(medians[1] / medians[0], 2) if medians[0] else 0,
        }
        return rows, by_path


async def measure_all(deployments: Sequence[int], additions: int, requests: int) -> list[Grid]:
    """Measure beside each number of deployments."""
    found = [await measure_at(number, additions, requests) for number in deployments]
    return [
        Grid(title="One more deployment", rows=tuple(row for rows, _ in found for row in rows)),
        Grid(title="Processor time of the router for a request by path", rows=tuple(by_path for _, by_path in found)),
    ]


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure as chosen on the command line."""
    return await measure_all(chosen.deployments, chosen.additions, chosen.requests)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--deployments", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--additions", type=int, default=10, help="deployments that are added, one after the other")
    parser.add_argument("--requests", type=int, default=4000, help="to each of the two paths, in each of 5 rounds")


if __name__ == "__main__":
    run_bench("addresses", __doc__, declare, measure)
