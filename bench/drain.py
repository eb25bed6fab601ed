"""How soon a replica stops after its last request has truly ended.

Replicas write down by their own clock when each request ended and when they were told to stop. Streams run through
every router when traffic is moved away from them; several deployments are switched side by side.

    python -m bench.drain --drains 40 --routers 1 3
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.figures import spread
from bench.line import Line, rollout_request, running_line
from bench.report import Grid, run_bench
from bench.upstream import LAST_CHUNK, LoggedEvent, UpstreamEvent, read_log
from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.states import RolloutOutcome

REPLICAS: Final = 2
STREAMS_A_ROUTER: Final = 4
SHORTEST_STREAM_SECONDS: Final = 0.5
LONGEST_STREAM_SECONDS: Final = 2.5
SEED: Final = 7


class CutError(Exception):
    """A stream did not end as it should."""


def _request(deployment: str, label: str, log: Path) -> RolloutRequest:
    server = [sys.executable, "-P", str(Path(__file__).with_name("upstream.py")), "--port", "{port}"]
    revision: dict[str, Any] = {
        "command": [*server, "--label", label, "--log", str(log)],
        "health_check": {"path": "/health", "interval": "200ms"},
    }
    return rollout_request(deployment, REPLICAS, revision, auto_promote=False, bake="0s")


async def _stream(session: aiohttp.ClientSession, url: str, seconds: float, begun: asyncio.Event) -> None:
    async with session.get(url, params={"seconds": f"{seconds:.3f}"}) as answer:
        begun.set()
        body = await answer.read()
    if answer.status != HTTPStatus.OK or not body.endswith(LAST_CHUNK):
        raise CutError(f"GET {url}: status {answer.status}, {body[-80:]!r}")


async def _drain_once(line: Line, session: aiohttp.ClientSession, deployment: str, number: int, log: Path) -> int:
    """Switch away from a revision whose streams run; return how many requests its rollout says were cut."""
    await line.begin(_request(deployment, f"{deployment}/{number + 1}", log))
    draw = random.Random(SEED + number)
    begun = [asyncio.Event() for _ in range(STREAMS_A_ROUTER * len(line.addresses.routers))]
    async with asyncio.TaskGroup() as group:
        for place, event in enumerate(begun):
            router = line.addresses.routers[place % len(line.addresses.routers)]
            seconds = draw.uniform(SHORTEST_STREAM_SECONDS, LONGEST_STREAM_SECONDS)
            group.create_task(_stream(session, f"{router.live}/{deployment}/stream", seconds, event))
        for event in begun:
            await event.wait()
        await line.rollouts.promote(deployment, PromoteCommand(by="bench"))
        ended = await line.end(deployment, RolloutOutcome.PROMOTED)
    return 0 if ended.result is None else ended.result.requests_cut


async def _drain_often(line: Line, deployment: str, drains: int, log: Path) -> int:
    await line.go_live(_request(deployment, f"{deployment}/0", log))
    # Each request over a connection of its own, so that every router has streams on both replicas.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        return sum([await _drain_once(line, session, deployment, number, log) for number in range(drains)])


def delays(events: Sequence[LoggedEvent]) -> dict[str, list[float]]:
    """Return, for each revision that was drained, the milliseconds from its last request's end to its replicas' end."""
    told: list[float] = []
    stopped: list[float] = []
    for label in {one.label for one in events}:
        mine = [one for one in events if one.label == label]
        last = {kind: max((one.at_ns for one in mine if one.event is kind), default=None) for kind in UpstreamEvent}
        ended, at_stop, gone = (last[kind] for kind in UpstreamEvent)
        if ended is None or at_stop is None or gone is None:
            continue  # the revision that is live at the end
        told.append((at_stop - ended) / 1e6)
        stopped.append((gone - ended) / 1e6)
    return {"until its last replica was told to stop": told, "until its last replica had stopped": stopped}


async def measure_on(line: Line, drains: int, deployments: int, log: Path) -> Grid:
    """Measure on one stack, whatever its shape."""
    names = [f"drained-{number}" for number in range(deployments)]
    cut = sum(await asyncio.gather(*(_drain_often(line, name, drains // deployments, log) for name in names)))
    rows = [
        {
            "routers": len(line.addresses.routers),
            "from the end of a revision's last request": what,
            "drains": len(taken),
            **spread(taken),
            "smallest ms": round(min(taken), 2),
            "requests cut": cut,
        }
        for what, taken in delays(read_log(log)).items()
    ]
    return Grid(title=f"Drains seen by {len(line.addresses.routers)} routers", rows=tuple(rows))


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure on a stack of its own for each number of routers."""
    grids: list[Grid] = []
    for routers in chosen.routers:
        async with running_line(routers=routers) as line:
            log = line.addresses.data_dir / "upstream.jsonl"
            grids.append(await measure_on(line, chosen.drains, chosen.deployments, log))
    return grids


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--drains", type=int, default=40, help="in all, on each stack")
    parser.add_argument("--deployments", type=int, default=4, help="switched side by side")
    parser.add_argument("--routers", type=int, nargs="+", default=[1, 3])


if __name__ == "__main__":
    run_bench("drain", __doc__, declare, measure)
