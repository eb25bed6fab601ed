"""How many whole rollouts a second one worker carries out, against bare workflows of the same shape.

Each rollout begins, opens a green of one endpoint, is promoted by its own timer, switches, drains blue and finishes. A
bare workflow has as many activities, signals, timers and upserts, on the same Temporal server and in a worker of the
same settings, and does nothing in them; what a rollout takes beyond it is the table, the routers and the keeper.

A second bare workflow has activities that send, over plain asyncpg, the statements that the worker sends for a rollout;
what a rollout takes beyond that is Celadon's own work on them, and what gateway and router do.

    python -m bench.engine --rollouts 200 --at-once 40
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from bench.bare import NEWS, QUEUE, WORKFLOW, Shape
from bench.bare_worker import DEPLOYMENTS_VARIABLE, REPLAY_VARIABLE, deployment_name
from bench.endpoints import one_endpoint
from bench.line import PATIENCE_SECONDS, Line, rollout_request, running_line
from bench.processes import usage_of
from bench.replay import RECORDED, Recording, check_promoted, record
from bench.report import Cell, Grid, run_bench
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.states import RolloutOutcome
from celadon.stack.environment import python_environment
from celadon.stack.postgres import create_database, drop_database
from celadon.table.core.migrate import upgrade

_CHEAP: Final = "24h"
_DATABASE: Final = "celadon_replay"
PROCESSES: Final = ("worker", "bare", "postgres", "temporal", "gateway", "router", "api")
"""The processes whose time is told; ``bare`` is the worker of bare workflows."""


def _request(name: str, address: str, turn: int) -> RolloutRequest:
    revision = {
        "provisioner": "static",
        "endpoints": [address],
        # Another content, so that each turn is another revision; and no second probe within the bench.
        "health_check": {"tcp": True, "interval": _CHEAP, "failure_threshold": turn + 1},
    }
    return rollout_request(name, 1, revision, auto_promote=True, bake="0s")


async def _rollouts(line: Line, address: str, at_once: int, turns: range) -> float:
    """Roll every deployment out, so many side by side and each so often; return rollouts a second."""

    async def roll_out(number: int) -> None:
        for turn in turns:
            await line.rollouts.start(_request(f"engine-{number}", address, turn))
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


async def _bare(line: Line, shape: Shape, deployments: Sequence[str], turns: int) -> tuple[float, int]:
    """Run bare workflows in the same way; return how many a second, and the events of one."""
    client = line.temporal

    async def run(name: str) -> None:
        own = replace(shape, deployment=name if shape.deployment else "")
        for turn in range(turns):
            handle = await client.start_workflow(WORKFLOW, own, id=_id(own, name, turn), task_queue=QUEUE)
            for _ in range(shape.signals):
                await handle.signal(NEWS)
            await handle.result()

    began = time.monotonic()
    await asyncio.gather(*(run(name) for name in deployments))
    rate = len(deployments) * turns / (time.monotonic() - began)
    history = await client.get_workflow_handle(_id(shape, deployments[0], 0)).fetch_history()
    return rate, len(history.events)


def _id(shape: Shape, deployment: str, turn: int) -> str:
    return f"{'statements' if shape.deployment else 'nothing'}-{deployment}-{turn}"


@asynccontextmanager
async def _bare_worker(line: Line, recording: Recording, at_once: int) -> AsyncIterator[tuple[int, str]]:
    """Run the worker of bare workflows in a database of its own; yield its process id and the database's address."""
    server = line.addresses.database_url
    database_url = await create_database(server, _DATABASE)
    try:
        await upgrade(database_url)
        file = line.addresses.data_dir / "replay.pickle"
        recording.write(file)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.bare_worker"),
            env=python_environment(
                line.addresses.environment
                | {"DATABASE_URL": database_url, REPLAY_VARIABLE: str(file), DEPLOYMENTS_VARIABLE: str(at_once)},
            ),
        )
        try:
            yield process.pid, database_url
        finally:
            process.terminate()
            await process.wait()
    finally:
        await drop_database(server, _DATABASE)


class _Cost:
    """What the machine spends on rollouts, by process."""

    def __init__(self, line: Line, **others: int) -> None:
        """Begin to count, for the stack's processes and ``others``."""
        self._processes = line.stack.addresses.children | others
        self._before = self._cpu()

    def _cpu(self) -> dict[str, float]:
        return {name: usage.cpu_seconds for name, usage in usage_of(self._processes).items()}

    def row(self, what: str, times: int) -> dict[str, Cell]:
        """Return the milliseconds of one."""
        after = self._cpu()
        spent: dict[str, float] = {}
        for name, before in self._before.items():
            # The second of several has its number in its name.
            kind = name.partition("-")[0]
            spent[kind] = spent.get(kind, 0.0) + (after[name] - before) / times * 1000
        row: dict[str, Cell] = {"CPU ms of": what, "all processes": round(sum(spent.values()), 1)}
        return row | {name: round(spent.get(name, 0.0), 1) for name in PROCESSES}


async def _warmed_up(line: Line, shape: Shape, deployment: str) -> None:
    """Let the worker of bare workflows take one, so that its start is not measured."""
    await line.temporal.execute_workflow(
        WORKFLOW, replace(shape, signals=0, timers=0, deployment=""), id=f"warm-{deployment}", task_queue=QUEUE
    )


async def measure_on(line: Line, rollouts: int, at_once: int) -> list[Grid]:
    """Measure on one stack, whose worker can be recorded."""
    turns = max(1, rollouts // at_once)
    times = at_once * turns
    async with one_endpoint() as address:
        await _rollouts(line, address, at_once, range(1))
        cost = _Cost(line)
        rate = await _rollouts(line, address, at_once, range(1, turns + 1))
        costs = [cost.row("a rollout", times)]
        recording = await record(line, *(_request(RECORDED, address, turn) for turn in (0, 1)))
    history = await line.history("engine-0")
    rows: list[dict[str, Cell]] = [
        {"what": "rollouts", "times": times, "at once": at_once, "a second": rate, "events of one": len(history)},
    ]
    shape = shape_of(history)
    names = [deployment_name(number) for number in range(at_once)]
    async with (
        _bare_worker(line, recording, at_once) as (pid, database_url),
        asyncio.timeout(PATIENCE_SECONDS + rollouts),
    ):
        await _warmed_up(line, shape, names[0])
        for what, own in (
            ("bare workflows", shape),
            ("bare workflows that send the same statements", replace(shape, deployment=names[0])),
        ):
            cost = _Cost(line, bare=pid)
            bare_rate, events = await _bare(line, own, names, turns)
            costs.append(cost.row(f"one of the {what}", times))
            rows.append(
                {"what": what, "times": times, "at once": at_once, "a second": bare_rate, "events of one": events},
            )
        await check_promoted(database_url, at_once * (turns + 1))
    for row in rows:
        row["a rollout's rate to it"] = round(rate / float(row["a second"]), 3)
        row["a second"] = round(float(row["a second"]), 2)
    sent: dict[str, Cell] = {
        "transactions": sum(one.is_atomic for one in recording.second.transactions),
        "reads without one": sum(not one.is_atomic for one in recording.second.transactions),
        "statements": recording.second.statements,
        "of them different": len({one.text for each in recording.second.transactions for one in each.statements}),
    }
    return [
        Grid(title="Whole rollouts a second", rows=tuple(rows)),
        Grid(title="What one costs the machine", rows=tuple(costs)),
        Grid(title="What the worker sends to Postgres for one rollout", rows=(sent,)),
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
