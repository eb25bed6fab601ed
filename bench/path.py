"""What Celadon's configuration of Envoy costs, beside the smallest that leads to the same replicas.

Two replicas in processes of their own, and Envoys before them: one with the smallest configuration, one with Celadon's
own from a gateway, by host name and by path; and for the table of pieces Envoys with Celadon's own as a file, whole and
without one piece each. Requests go to one after the other in rounds, each of which begins with another one, so that
what else the machine does meets all of them alike. A ratio is of two in the same round; the tables have the median.

    python -m bench.path --rounds 12 --requests 600 --streams 500
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp

from bench.figures import percentile
from bench.gateway import Envoy, admin_socket, published, running_envoy, running_gateway
from bench.path_load import (
    CONNECTIONS,
    EVENT_SECONDS,
    HOST,
    PATIENCE_SECONDS,
    STREAM_PATH,
    open_streams,
    request,
    send_at_full_speed,
    send_steadily,
)
from bench.path_pieces import PIECES, own, smallest, without
from bench.report import Grid, run_bench
from celadon.gateway.addresses import SocketAddress
from celadon.gateway.routing import Routing
from celadon.stack.ports import choose_ports

DEPLOYMENT: Final = "chat"
REPLICAS: Final = 2
SETTLE_SECONDS: Final = 0.2

DIRECT: Final = "no router"
SMALLEST: Final = "the smallest Envoy"
BY_HOST: Final = "Celadon, by host name"
BY_PATH: Final = "Celadon, by path"
WHOLE: Final = "nothing (the whole)"
ALL_PIECES: Final = "all of these"

_PATH: Final = "/v1/chat/completions"
_PREVIEW_KEY: Final = "a-key-of-the-bench"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Way:
    """One way to the replicas."""

    port: int
    what: bytes
    """The request that goes it."""
    stream: bytes
    """The request for a stream that goes it."""
    envoy: Envoy | None
    """``None`` where there is none."""


@dataclass(frozen=True)
class Found:
    """What one round has found of one way."""

    steady_cpu: float
    """Seconds of Envoy's processor time for 1,000 requests at the steady rate."""
    full_cpu: float
    """The same at full speed."""
    median_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Load:
    """How much is sent."""

    rounds: int
    requests: int
    """To each way in each round: at the steady rate, and as many again at full speed."""
    per_second: float
    """The steady rate."""


def _way(port: int, envoy: Envoy | None, *, by_path: bool = False) -> Way:
    host, prefix = (HOST, f"/{DEPLOYMENT}") if by_path else (DEPLOYMENT, "")
    return Way(port, request(host, f"{prefix}{_PATH}"), request(host, f"{prefix}{STREAM_PATH}"), envoy)


class _Ground:
    """Replicas, and the Envoys that were started before them."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.replicas: list[int] = []

    async def run_replicas(self) -> None:
        """Run the replicas until the end, each in a process of its own."""
        self.replicas = [*choose_ports([f"replica-{number}" for number in range(REPLICAS)], {}).values()]
        for port in self.replicas:
            command = (sys.executable, "-m", "bench.path_load", "--port", str(port))
            server = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
            self._stack.push_async_callback(_end, server)
            await _answers(self.direct)

    @property
    def direct(self) -> Way:
        """The way to the first replica."""
        return _way(self.replicas[0], None)

    def directory(self) -> Path:
        """Return a new directory, which is removed at the end."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="celadon-bench-")))

    async def smallest(self) -> Way:
        """Run an Envoy with the smallest configuration."""
        port, directory = choose_ports(("router",), {})["router"], self.directory()
        configuration = smallest(port, self.replicas, admin_socket(directory))
        return _way(port, await self._stack.enter_async_context(running_envoy(configuration, directory)))

    async def with_gateway(self) -> tuple[Way, Way]:
        """Run a gateway and a router; return the ways by host name and by path."""
        routing, told = _routing(), [published(DEPLOYMENT, *self.replicas)]
        running = running_gateway(routing, told, self.directory())
        _, _, router = await self._stack.enter_async_context(running)
        return _way(routing.live.port, router), _way(routing.live.port, router, by_path=True)

    async def without(self, *pieces: str) -> Way:
        """Run an Envoy with what a gateway tells of the live listener, without some pieces."""
        routing, directory = _routing(), self.directory()
        whole = own(routing, published(DEPLOYMENT, *self.replicas), admin_socket(directory))
        running = running_envoy(without(whole, *pieces), directory)
        return _way(routing.live.port, await self._stack.enter_async_context(running))


async def _end(server: asyncio.subprocess.Process) -> None:
    server.kill()
    await server.wait()


@asynccontextmanager
async def _ground() -> AsyncIterator[_Ground]:
    async with AsyncExitStack() as stack:
        ground = _Ground(stack)
        await ground.run_replicas()
        yield ground


def _routing() -> Routing:
    """Return routing with a preview listener and a preview key, as a stack has it."""
    ports = choose_ports(("live", "preview"), {})
    live, preview = (SocketAddress(host=HOST, port=ports[name]) for name in ("live", "preview"))
    return Routing(live, preview, _PREVIEW_KEY, timedelta(hours=1), ("localhost",))


async def _answers(way: Way) -> None:
    """Wait until a request is answered."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await send_at_full_speed(way.port, way.what, CONNECTIONS)
            except* (OSError, RuntimeError):
                await asyncio.sleep(SETTLE_SECONDS)
            else:
                return


async def _cpu_of(way: Way, load: Coroutine[Any, Any, _T]) -> tuple[float, _T]:
    """Return the milliseconds of processor time that an Envoy uses under a load, and what the load returns."""
    before = 0.0 if way.envoy is None else way.envoy.cpu_ms
    returned = await load
    await asyncio.sleep(SETTLE_SECONDS)
    return (0.0 if way.envoy is None else way.envoy.cpu_ms) - before, returned


async def _find(way: Way, load: Load) -> Found:
    requests = load.requests // CONNECTIONS * CONNECTIONS
    steady, taken = await _cpu_of(way, send_steadily(way.port, way.what, requests, load.per_second))
    full, _ = await _cpu_of(way, send_at_full_speed(way.port, way.what, requests))
    return Found(steady / requests, full / requests, statistics.median(taken), percentile(taken, 0.99))


async def _find_all(ways: Mapping[str, Way], load: Load) -> dict[str, list[Found]]:
    """Send to each way in each round; a round begins with another way than the round before."""
    for way in ways.values():
        await _answers(way)
        await send_at_full_speed(way.port, way.what, load.requests)
    found: dict[str, list[Found]] = {name: [] for name in ways}
    names = [*ways]
    for number in range(load.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(await _find(ways[name], load))
    return found


def _ratio(ones: Iterable[float], others: Iterable[float]) -> float:
    """Return the median of the ratios of two in the same round."""
    return round(statistics.median(one / other for one, other in zip(ones, others, strict=True)), 3)


def _spread(ones: Iterable[float], others: Iterable[float]) -> str:
    """Return between what the ratios of half of the rounds lie."""
    ratios = sorted(one / other for one, other in zip(ones, others, strict=True))
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    return f"{low:.2f} to {high:.2f}"


async def measure_requests(load: Load) -> list[Grid]:
    """Compare what requests cost, at the steady rate and at full speed."""
    async with _ground() as ground:
        least, (by_host, by_path) = await ground.smallest(), await ground.with_gateway()
        ways = {DIRECT: ground.direct, SMALLEST: least, BY_HOST: by_host, BY_PATH: by_path}
        found = await _find_all(ways, load)
    return [
        _costs(found, "steady_cpu", f"at {load.per_second:g} requests/s", load),
        _costs(found, "full_cpu", "at full speed", load),
        _durations(found),
    ]


def _costs(found: Mapping[str, list[Found]], figure: str, rate: str, load: Load) -> Grid:
    """Return the table of processor time at a rate."""
    costs = {name: [getattr(one, figure) for one in ones] for name, ones in found.items() if name != DIRECT}
    least = costs[SMALLEST]
    return Grid(
        title=f"Processor time of Envoy {rate}, {load.rounds} rounds of {load.requests} requests",
        rows=tuple(
            {
                "way": name,
                "CPU s for 1,000 requests": round(statistics.median(taken), 4),
                "of the smallest": _ratio(taken, least),
                "half of the rounds": _spread(taken, least),
            }
            for name, taken in costs.items()
        ),
    )


def _durations(found: Mapping[str, list[Found]]) -> Grid:
    """Return the table of what requests took at the steady rate."""
    medians = {name: [one.median_ms for one in ones] for name, ones in found.items()}
    p99s = {name: [one.p99_ms for one in ones] for name, ones in found.items()}
    return Grid(
        title="What requests took at the steady rate",
        rows=tuple(
            {
                "way": name,
                "median ms": round(statistics.median(medians[name]), 3),
                "of no router": _ratio(medians[name], medians[DIRECT]),
                "of the smallest": _ratio(medians[name], medians[SMALLEST]),
                "p99 ms": round(statistics.median(p99s[name]), 2),
                "p99 of the smallest's": _ratio(p99s[name], p99s[SMALLEST]),
            }
            for name in found
        ),
    )


async def measure_pieces(load: Load, names: Sequence[str], streams: int) -> Grid:
    """Compare what requests and streams cost without one piece each."""
    async with _ground() as ground:
        ways = {SMALLEST: await ground.smallest(), WHOLE: await ground.without()}
        for name in names:
            ways[name] = await ground.without(name)
        ways[ALL_PIECES] = await ground.without(*PIECES)
        # Before they have memory from other requests.
        held = {name: (await _held_by_streams(way, streams)).used for name, way in ways.items()}
        found = await _find_all(ways, load)
    steady, full = (
        {name: [getattr(one, figure) for one in ones] for name, ones in found.items()}
        for figure in ("steady_cpu", "full_cpu")
    )
    return Grid(
        title=f"Celadon's configuration without one piece, {load.rounds} rounds of {load.requests} requests",
        rows=tuple(
            {
                "without": name,
                f"CPU at {load.per_second:g} requests/s, of the whole": _ratio(steady[name], steady[WHOLE]),
                "half of the rounds": _spread(steady[name], steady[WHOLE]),
                "CPU at full speed, of the whole": _ratio(full[name], full[WHOLE]),
                "half of those rounds": _spread(full[name], full[WHOLE]),
                "KiB in use a stream": round(held[name], 1),
            }
            for name in ways
        ),
    )


@dataclass(frozen=True)
class Memory:
    """KiB that an Envoy has, or that a stream costs it."""

    resident: float
    """What it has of the machine's memory for itself."""
    used: float
    """What of that is in use, by its own account."""


async def _memory_of(envoy: Envoy) -> Memory:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(envoy.admin))) as session,
        session.get("http://admin/memory") as answer,
    ):
        used = int((await answer.json(content_type=None))["allocated"])
    return Memory(envoy.process.memory_full_info().uss / 1024, used / 1024)


async def _held_by_streams(way: Way, streams: int) -> Memory:
    """Return what each of so many open streams costs an Envoy."""
    if way.envoy is None:
        return Memory(0.0, 0.0)
    await _answers(way)
    before = await _memory_of(way.envoy)
    async with open_streams(way.port, way.stream, streams):
        await asyncio.sleep(EVENT_SECONDS)
        after = await _memory_of(way.envoy)
    return Memory((after.resident - before.resident) / streams, (after.used - before.used) / streams)


async def measure_streams(rounds: int, streams: int) -> Grid:
    """Compare what open streams cost new Envoys, which have not kept memory from others."""
    held: dict[str, list[Memory]] = {name: [] for name in (SMALLEST, BY_HOST)}
    for _ in range(rounds):
        async with _ground() as ground:
            held[SMALLEST].append(await _held_by_streams(await ground.smallest(), streams))
            by_host, _ = await ground.with_gateway()
            held[BY_HOST].append(await _held_by_streams(by_host, streams))
    resident, used = (
        {name: [getattr(one, which) for one in ones] for name, ones in held.items()} for which in ("resident", "used")
    )
    return Grid(
        title=f"Memory of Envoy for a stream, {streams} open, {rounds} rounds",
        rows=tuple(
            {
                "way": name,
                "KiB resident": round(statistics.median(resident[name]), 1),
                "of the smallest": _ratio(resident[name], resident[SMALLEST]),
                "KiB in use": round(statistics.median(used[name]), 1),
                "in use, of the smallest": _ratio(used[name], used[SMALLEST]),
            }
            for name in held
        ),
    )


async def measure_all(load: Load, streams: int, stream_rounds: int, pieces: Sequence[str]) -> list[Grid]:
    """Measure requests, streams, and each of these pieces."""
    grids = [*await measure_requests(load), await measure_streams(stream_rounds, streams)]
    return [*grids, await measure_pieces(load, pieces, streams)] if pieces else grids


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure as chosen on the command line."""
    load = Load(chosen.rounds, chosen.requests, chosen.requests_per_second)
    return await measure_all(load, chosen.streams, chosen.stream_rounds, () if chosen.no_pieces else [*PIECES])


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--requests", type=int, default=600, help="to each way in each round and at each rate")
    parser.add_argument("--requests-per-second", type=float, default=150.0)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--stream-rounds", type=int, default=3)
    parser.add_argument("--no-pieces", action="store_true", help="leave the table of pieces out")


if __name__ == "__main__":
    run_bench("path", __doc__, declare, measure)
