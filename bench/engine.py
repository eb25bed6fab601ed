"""How many whole rollouts a second one worker carries out, against bare workflows of the same shape.

Each rollout begins, opens a green of one endpoint, is promoted by its own timer, switches, drains blue and finishes. A
bare workflow has as many activities, signals, timers and upserts, on the same Temporal server and in a worker of the
same settings, and does nothing in them; what a rollout takes beyond it is the table, the routers and the keeper.

    python -m bench.engine --rollouts 200 --at-once 40
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from bench.bare import NEWS, QUEUE, WORKFLOW, Shape
from bench.endpoints import one_endpoint
from bench.line import PATIENCE_SECONDS, Line, rollout_request, running_line
from bench.processes import usage_of
from bench.report import Cell, Grid, run_bench
from celadon.domain.messages import RolloutRequest
from celadon.domain.states import RolloutOutcome
from celadon.stack.environment import python_environment

_CHEAP: Final = "24h"


def _request(number: int, address: str, turn: int) -> RolloutRequest:
    revision = {
        "provisioner": "static",
        "endpoints": [address],
        # Another content, so that each turn is another revision; and no second probe within the bench.
        "health_check": {"interval": _CHEAP, "failure_threshold": turn + 1},
    }
    return rollout_request(f"engine-{number}", 1, revision, auto_promote=True, bake="0s")


async def _rollouts(line: Line, address: str, at_once: int, turns: range) -> float:
    """Roll every deployment out, so many side by side and each so often; return rollouts a second."""

    async def roll_out(number: int) -> None:
        for turn in turns:
            await line.rollouts.start(_request(number, address, turn))
            await line.end(f"engine-{number}", RolloutOutcome.PROMOTED)

    began = time.monotonic()
    await asyncio.gather(*(roll_out(number) for number in range(at_once)))
    return at_once * len(turns) / (time.monotonic() - began)


def shape_of(events: Sequence[HistoryEvent]) -> Shape:
    """Return how much of everything a history holds."""
    kinds = Counter(event.event_type for event in events)
    return Shape(
        activities=kinds[EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED],
        signals=kinds[EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED],
        upserts=kinds[EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES],
        timers=kinds[EventType.EVENT_TYPE_TIMER_STARTED],
    )


async def _bare(line: Line, shape: Shape, at_once: int, turns: int) -> tuple[float, int]:
    """Run bare workflows in the same way; return how many a second, and the events of one."""
    client = line.temporal

    async def run(number: int) -> None:
        for turn in range(turns):
            handle = await client.start_workflow(WORKFLOW, shape, id=f"bare-{number}-{turn}", task_queue=QUEUE)
            for _ in range(shape.signals):
                await handle.signal(NEWS)
            await handle.result()

    began = time.monotonic()
    await asyncio.gather(*(run(number) for number in range(at_once)))
    rate = at_once * turns / (time.monotonic() - began)
    history = await client.get_workflow_handle("bare-0-0").fetch_history()
    return rate, len(history.events)


@asynccontextmanager
async def _bare_worker(line: Line) -> AsyncIterator[None]:
    """Run the worker of bare workflows."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.bare_worker"),
        env=python_environment(line.addresses.environment),
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


def _cpu(line: Line) -> float:
    return sum(one.cpu_seconds for one in usage_of(line.stack.addresses.children).values())


async def measure_on(line: Line, rollouts: int, at_once: int) -> list[Grid]:
    """Measure on one stack."""
    turns = max(1, rollouts // at_once)
    async with one_endpoint() as address:
        await _rollouts(line, address, at_once, range(1))
        before = _cpu(line)
        rate = await _rollouts(line, address, at_once, range(1, turns + 1))
        spent = _cpu(line) - before
    history = await line.history("engine-0")
    async with _bare_worker(line), asyncio.timeout(PATIENCE_SECONDS + rollouts):
        bare_rate, bare_events = await _bare(line, shape_of(history), at_once, turns)
    rows: list[dict[str, Cell]] = [
        {"what": "rollouts", "times": at_once * turns, "at once": at_once, "a second": round(rate, 2)},
        {"what": "bare workflows", "times": at_once * turns, "at once": at_once, "a second": round(bare_rate, 2)},
    ]
    for row, events in zip(rows, (len(history), bare_events), strict=True):
        row["events of one"] = events
        row["of the bare rate"] = round(float(row["a second"]) / bare_rate, 3)
    cost: dict[str, Cell] = {"CPU ms of all processes a rollout": round(spent / (at_once * turns) * 1000, 1)}
    return [
        Grid(title="Whole rollouts a second", rows=tuple(rows)),
        Grid(title="What one costs the machine", rows=(cost,)),
    ]


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure on a stack of its own."""
    async with running_line() as line:
        return await measure_on(line, chosen.rollouts, chosen.at_once)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--rollouts", type=int, default=400)
    parser.add_argument("--at-once", type=int, default=40)


if __name__ == "__main__":
    run_bench("engine", __doc__, declare, measure)
