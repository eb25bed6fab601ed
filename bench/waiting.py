"""What rollouts cost that do nothing but wait for their promotion.

The same stack is watched with no rollout, with some and with many; then again with many that are probed often, because
probing costs something whether a rollout waits or not. At the end the worker starts anew with a small cache, and all
rollouts are asked for their status: what it holds then is what a bounded cache costs. Writes are what processes hand to
the kernel for a disk; of Postgres, whose kernel figure counts whole blocks of the page cache, the bytes of its log.

    python -m bench.waiting --rollouts 100 2000 --seconds 30
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from sqlalchemy import text

from bench.endpoints import one_endpoint
from bench.line import PATIENCE_SECONDS, Line, opened_line, rollout_request
from bench.processes import MIB, Usage, usage_of
from bench.report import Cell, Grid, run_bench
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.states import RolloutPhase
from celadon.stack.stack import Stack

STARTED_AT_ONCE: Final = 50
ASKED_AT_ONCE: Final = 8
_POLL_SECONDS: Final = 0.1
SETTLING_SECONDS: Final = 15.0
SELDOM: Final = "24h"
OFTEN_SECONDS: Final = 10
SMALL_CACHE: Final = 100
CACHE: Final = "CELADON_MAX_CACHED_WORKFLOWS"
WATCHED: Final = ("temporal", "worker", "postgres", "gateway", "router")


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Let the children of a stack that starts meanwhile have these variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _request(number: int, address: str, interval: str) -> RolloutRequest:
    revision = {"provisioner": "static", "endpoints": [address], "health_check": {"tcp": True, "interval": interval}}
    return rollout_request(f"waiting-{number}", 1, revision, auto_promote=False)


async def _start(line: Line, numbers: range, address: str, interval: str) -> float:
    """Bring so many more rollouts to the gate; return how many a second."""
    began = time.monotonic()
    before = await line.count(RolloutPhase.AWAITING_PROMOTION)
    for started, number in enumerate(numbers, start=1):
        await line.rollouts.start(_request(number, address, interval))
        if started % STARTED_AT_ONCE == 0:
            await _until_at_the_gate(line, before + started - STARTED_AT_ONCE // 2)
    await _until_at_the_gate(line, before + len(numbers))
    return len(numbers) / (time.monotonic() - began)


async def _until_at_the_gate(line: Line, rollouts: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := await line.count(RolloutPhase.AWAITING_PROMOTION)) < rollouts:
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {found} of {rollouts} rollouts came to the gate in time")
        await asyncio.sleep(_POLL_SECONDS)


async def _look(line: Line) -> dict[str, Usage]:
    """Return what the processes have used; of Postgres, what it has written to its log of changes."""
    used = usage_of(line.stack.addresses.children)
    async with line.table.transaction() as tx:
        written = await tx.scalar(text("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8"))
    used["postgres"] = replace(used["postgres"], written_mib=(written or 0.0) / MIB)
    return used


async def _watch(line: Line, seconds: float) -> tuple[dict[str, Usage], dict[str, Usage]]:
    """Let everything settle, then look at the beginning and at the end of the time."""
    await asyncio.sleep(SETTLING_SECONDS if seconds > SETTLING_SECONDS else 0)
    before = await _look(line)
    await asyncio.sleep(seconds)
    return before, await _look(line)


class _Watched:
    """Rows of what was seen, each against the same stack with no rollout."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._idle: Mapping[str, dict[str, float]] = {}
        self.rows: list[dict[str, Cell]] = []

    async def watch(self, line: Line, waiting: int, probes: str) -> None:
        """Watch the stack now."""
        before, after = await _watch(line, self._seconds)
        rates = {
            name: {
                "cpu": (after[name].cpu_seconds - before[name].cpu_seconds) / self._seconds * 100,
                "memory": after[name].resident_mib,
                "written": (after[name].written_mib - before[name].written_mib) * 1024 / self._seconds,
            }
            for name in WATCHED
        }
        self._idle = self._idle or rates
        for name, rate in rates.items():
            idle = self._idle[name]
            row: dict[str, Cell] = {
                "waiting": waiting,
                "probes": probes,
                "process": name,
                "% of a core": round(rate["cpu"], 2),
                "MiB": round(rate["memory"], 1),
                "written KiB/s": round(rate["written"], 1),
                "CPU ms a rollout and minute": "",
                "KiB a rollout": "",
                "written bytes a rollout and minute": "",
            }
            if waiting:
                row["CPU ms a rollout and minute"] = round((rate["cpu"] - idle["cpu"]) * 600 / waiting, 2)
                row["KiB a rollout"] = round((rate["memory"] - idle["memory"]) * 1024 / waiting, 1)
                row["written bytes a rollout and minute"] = round(
                    (rate["written"] - idle["written"]) * 1024 * 60 / waiting,
                )
            self.rows.append(row)


async def _ask_all(line: Line, rollouts: int) -> None:
    """Ask all rollouts for their status, which replays those that the worker does not hold."""
    permits = asyncio.Semaphore(ASKED_AT_ONCE)

    async def ask(number: int) -> None:
        async with permits:
            status = await line.rollouts.status(f"waiting-{number}")
        if status.phase is not RolloutPhase.AWAITING_PROMOTION:
            raise RuntimeError(f"a rollout does not wait any more: {status}")

    await asyncio.gather(*(ask(number) for number in range(rollouts)))


async def cached_on(line: Line, rollouts: int, cache: str) -> dict[str, Cell]:
    """Ask all waiting rollouts of a stack for their status; return what the worker's memory came to."""
    held = Usage.of(line.stack.addresses.children["worker"]).resident_mib
    began = time.monotonic()
    await _ask_all(line, rollouts)
    took = time.monotonic() - began
    asked = Usage.of(line.stack.addresses.children["worker"]).resident_mib
    return {
        "rollouts kept in memory at most": cache,
        "waiting": rollouts,
        "worker MiB before any was asked": round(held, 1),
        "worker MiB after all were asked": round(asked, 1),
        "KiB a rollout by asking": round((asked - held) * 1024 / rollouts, 1),
        "answers a second": round(rollouts / took, 1),
    }


async def measure_on(line: Line, sizes: list[int], seconds: float) -> tuple[Grid, Grid]:
    """Watch one stack without and with waiting rollouts, seldom probed and at the end probed often."""
    watched = _Watched(seconds)
    starts: list[dict[str, Cell]] = []
    async with one_endpoint() as address:
        await watched.watch(line, 0, "none")
        present = 0
        for size in sizes:
            rate = await _start(line, range(present, size), address, SELDOM)
            starts.append({"rollouts": size - present, "brought to the gate a second": round(rate, 1)})
            present = size
            await watched.watch(line, present, "seldom")
        await _start(line, range(present, present + sizes[0]), address, f"{OFTEN_SECONDS}s")
        await watched.watch(line, present + sizes[0], f"{sizes[0]} of them each {OFTEN_SECONDS} s")
    return (
        Grid(title="Waiting rollouts, against the same stack with none", rows=tuple(watched.rows)),
        Grid(title="Starting them", rows=tuple(starts)),
    )


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure on a stack, and on the same one started again with other caches."""
    with tempfile.TemporaryDirectory(prefix="celadon-bench-") as directory:
        # Root's Postgres runs as another user, who must get through.
        Path(directory).chmod(0o711)
        data_dir = Path(directory) / "stack"
        async with opened_line(Stack(data_dir)) as line:
            grids = await measure_on(line, chosen.rollouts, chosen.seconds)
        cached: list[dict[str, Cell]] = []
        for cache in (str(SMALL_CACHE), ""):
            with _environment(**({CACHE: cache} if cache else {})):
                async with opened_line(Stack(data_dir)) as line:
                    await asyncio.sleep(SETTLING_SECONDS)
                    cached.append(await cached_on(line, max(chosen.rollouts), cache or "2000, as by default"))
        return [*grids, Grid(title="Memory by the worker's cache", rows=tuple(cached))]


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--rollouts", type=int, nargs="+", default=[100, 2000])
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each state is watched")


if __name__ == "__main__":
    run_bench("waiting", __doc__, declare, measure)
