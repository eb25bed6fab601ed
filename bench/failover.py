"""What it costs that all of green dies right after a switch, with blue as the net under green and without.

Requests come at a steady rate, whatever becomes of those before them. Some seconds after the switch all replicas of
green are killed (SIGKILL); those that take their places load for some seconds. The rollout bakes on, for nothing goes
back by itself.

    python -m bench.failover --requests-per-second 150 --load-seconds 0 12
"""

import argparse
import asyncio
import os
import signal
import time
from typing import Final

import aiohttp
import psutil
from sqlalchemy import select

from bench.line import PATIENCE_SECONDS, Line, model_server, rollout_request, running_line
from bench.report import Cell, Grid, run_bench
from celadon.domain.language.commands import AbortCommand, PromoteCommand
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.states import RolloutOutcome, RouteHealthStatus
from celadon.provisioners.claims import route_of
from celadon.table.core.models import Rollout, Route

REPLICAS: Final = 3
BEFORE_SECONDS: Final = 2.0
AFTER_SECONDS: Final = 3.0
"""How long requests come on after green is full again."""

_POLL_SECONDS: Final = 0.05


class _Load:
    """Requests at a steady rate; each tells when it was sent and whether it was answered."""

    def __init__(self, url: str, per_second: float) -> None:
        self._url, self._interval = url, 1 / per_second
        self.failed_at: list[float] = []
        self.sent = 0

    async def run(self) -> None:
        """Send until cancelled."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session,
            asyncio.TaskGroup() as group,
        ):
            due = time.monotonic()
            while True:
                group.create_task(self._send(session))
                due += self._interval
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _send(self, session: aiohttp.ClientSession) -> None:
        at = time.monotonic()
        self.sent += 1
        try:
            async with session.get(self._url) as answer:
                await answer.read()
                failed = not answer.ok
        except aiohttp.ClientError:
            failed = True
        if failed:
            self.failed_at.append(at)


def _request(name: str, label: str, load_seconds: float, *, failover: bool) -> RolloutRequest:
    revision = model_server(label, "--load-seconds", str(load_seconds))
    policy = {"auto_promote": False, "bake": "10m", "failover": failover, "failover_rollback": None}
    return rollout_request(name, REPLICAS, revision, **policy)


async def _greens(line: Line, name: str, *, healthy: bool) -> set[str]:
    """Return the replicas of the latest rollout's green that have not ended, or those of them that are healthy."""
    latest = select(Rollout.green_set).where(Rollout.deployment == name).order_by(Rollout.id.desc()).limit(1)
    routes = select(Route.id).where(Route.set_id == latest.scalar_subquery(), Route.ended_at.is_(None))
    if healthy:
        routes = routes.where(Route.health == RouteHealthStatus.HEALTHY)
    async with line.table.transaction() as tx:
        return set(await tx.scalars(routes))


def _kill(routes: set[str]) -> None:
    for pid in psutil.pids():
        if route_of(pid) in routes:
            os.kill(pid, signal.SIGKILL)


async def measure_one(line: Line, load_seconds: float, per_second: float, *, failover: bool) -> dict[str, Cell]:
    """Kill one green under load; return what became of the requests."""
    name = f"failing-{'with' if failover else 'without'}-{load_seconds:g}".replace(".", "-")
    await line.go_live(rollout_request(name, REPLICAS, model_server("r1"), auto_promote=True))
    await line.begin(_request(name, "r2", load_seconds, failover=failover))
    load = _Load(f"{line.addresses.router}/{name}/v1/models", per_second)
    sending = asyncio.create_task(load.run())
    try:
        await line.rollouts.promote(name, PromoteCommand(by="bench"))
        await asyncio.sleep(BEFORE_SECONDS)
        killed = await _greens(line, name, healthy=True)
        killed_at = time.monotonic()
        await asyncio.to_thread(_kill, killed)
        deadline = killed_at + PATIENCE_SECONDS
        while len(await _greens(line, name, healthy=True) - killed) < REPLICAS:
            if time.monotonic() > deadline:
                raise TimeoutError("green was not full again in time")
            await asyncio.sleep(_POLL_SECONDS)
        full_after = time.monotonic() - killed_at
        await asyncio.sleep(AFTER_SECONDS)
    finally:
        sending.cancel()
        await asyncio.wait([sending])
    await line.rollouts.rollback(name, AbortCommand(by="bench"))
    await line.end(name, RolloutOutcome.ROLLED_BACK)
    last = max(load.failed_at, default=killed_at)
    return {
        "net": "blue" if failover else "none",
        "green loads for s": load_seconds,
        "requests": load.sent,
        "failed": len(load.failed_at),
        "last failed, s after the kill": round(max(0.0, last - killed_at), 2),
        "green full again after s": round(full_after, 2),
    }


async def measure_on(line: Line, load_seconds: list[float], per_second: float) -> Grid:
    """Measure on one stack, without a net and with it in turn."""
    rows: list[dict[str, Cell]] = []
    for seconds in load_seconds:
        for failover in (False, True):
            rows.append(await measure_one(line, seconds, per_second, failover=failover))
            print(rows[-1], flush=True)
    return Grid(
        title=f"All {REPLICAS} replicas of green killed in the bake, {per_second:g} requests/s", rows=tuple(rows)
    )


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure on a stack of its own."""
    async with running_line() as line:
        return [await measure_on(line, chosen.load_seconds, chosen.requests_per_second)]


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--requests-per-second", type=float, default=150.0)
    parser.add_argument("--load-seconds", type=float, nargs="+", default=[0.0, 12.0], help="how long a green loads")


if __name__ == "__main__":
    run_bench("failover", __doc__, declare, measure)
