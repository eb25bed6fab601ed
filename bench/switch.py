"""How long a promotion takes: answered, and acknowledged by the last router; and the switch back.

On a whole local stack with two replicas a colour. With ``--deployments 1 1000`` the same switches are made beside
that many deployments, and the ratio of the medians is taken in one run.

    python -m bench.switch --switches 20 --deployments 1 1000
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from celadon.client.rollouts import RolloutClient
from celadon.domain.contracts import workflow_id
from celadon.domain.messages import AbortCommand, PromoteCommand, RolloutRequest
from celadon.domain.payload import parse_payload
from celadon.domain.states import DeploymentLifecycle, RolloutPhase
from celadon.stack.addresses import StackAddresses
from celadon.stack.demo.history import billable_actions
from celadon.stack.stack import Stack
from celadon.table.engine import Table
from celadon.table.epoch import raise_epoch
from celadon.table.models import Deployment, RouterAck

NAME = "bench"


@dataclass(frozen=True)
class Figures:
    """Milliseconds of one kind of step over all switches of one size."""

    deployments: int
    step: str
    switches: int
    median_ms: float
    p99_ms: float
    largest_ms: float


@dataclass(frozen=True)
class Cost:
    """What one rollout costs Temporal: promoted by a person, then rolled back."""

    history_events: int
    billable_actions: int


def _request(label: str) -> RolloutRequest:
    server = [sys.executable, "-P", "-m", "celadon.stack.demo.model_server"]
    return parse_payload(
        RolloutRequest,
        {
            "deployment": NAME,
            "replicas": 2,
            "revision": {
                "command": [*server, "--port", "{port}", "--revision-label", label],
                "health_check": {"path": "/health", "interval": "200ms"},
            },
            "policy": {"auto_promote": False, "bake": "10m"},
            "requested_by": "bench",
        },
    )


class Bench:
    """One stack under measurement."""

    def __init__(self, addresses: StackAddresses, temporal: Client, table: Table) -> None:
        self._addresses = addresses
        self._temporal = temporal
        self._rollouts = RolloutClient(temporal)
        self._table = table

    async def go_live(self) -> None:
        """Bring the first revision live."""
        await self._rollouts.start(_request("r1"))
        await self._until(RolloutPhase.AWAITING_PROMOTION)
        await self._rollouts.promote(NAME, PromoteCommand())
        await self._rollouts.wait(NAME)

    async def fill(self, deployments: int) -> None:
        """Let there be so many deployments; the others serve nothing."""
        names = [f"other-{number}" for number in range(1, deployments)]
        if not names:
            return
        async with self._table.transaction() as tx:
            rows = [
                {"name": name, "replicas": 0, "lifecycle": DeploymentLifecycle.PENDING, "policy": {}} for name in names
            ]
            await tx.execute(insert(Deployment).values(rows).on_conflict_do_nothing())
            for name in names:
                await raise_epoch(tx, name)
        deadline = time.monotonic() + 60
        while await self._acknowledged(names) < len(names):
            if time.monotonic() > deadline:
                raise TimeoutError("the router did not acknowledge the other deployments")
            await asyncio.sleep(0.1)

    async def _acknowledged(self, names: Sequence[str]) -> int:
        async with self._table.transaction() as tx:
            statement = select(func.count()).select_from(RouterAck).where(RouterAck.deployment.in_(names))
            return await tx.scalar(statement) or 0

    async def switch(self) -> dict[str, float]:
        """Roll out, promote, switch back; return the milliseconds of each step."""
        await self._rollouts.start(_request("r2"))
        await self._until(RolloutPhase.AWAITING_PROMOTION)
        began = time.perf_counter()
        promoted = await self._rollouts.promote(NAME, PromoteCommand(by="bench"))
        answered = time.perf_counter()
        back = await self._rollouts.rollback(NAME, AbortCommand(by="bench"))
        back_answered = time.perf_counter()
        if promoted.silent or back.silent:
            raise RuntimeError("a router was silent; the figures mean nothing")
        await self._rollouts.wait(NAME)
        return {
            "promotion answered": (answered - began) * 1000,
            "switch begun to last acknowledgement": promoted.ms,
            "switch back answered": (back_answered - answered) * 1000,
            "switch back begun to last acknowledgement": back.ms,
        }

    async def cost(self) -> Cost:
        """Count the events and actions of the last rollout."""
        history = await self._temporal.get_workflow_handle(workflow_id(NAME)).fetch_history()
        return Cost(history_events=len(history.events), billable_actions=billable_actions(history.events))

    async def _until(self, phase: RolloutPhase) -> None:
        deadline = time.monotonic() + 60
        while (await self._rollouts.status(NAME)).phase is not phase:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the rollout did not become {phase.value}")
            await asyncio.sleep(0.05)


def figures(deployments: int, rounds: Sequence[dict[str, float]]) -> list[Figures]:
    """Summarise the rounds of one size, a row a step."""
    rows = []
    for step in rounds[0]:
        taken = sorted(one[step] for one in rounds)
        rows.append(
            Figures(
                deployments=deployments,
                step=step,
                switches=len(taken),
                median_ms=round(statistics.median(taken), 1),
                p99_ms=round(taken[min(len(taken) - 1, round(0.99 * len(taken)))], 1),
                largest_ms=round(taken[-1], 1),
            ),
        )
    return rows


async def measure(switches: int, sizes: Sequence[int]) -> tuple[list[Figures], Cost]:
    """Run everything on a stack of its own."""
    with tempfile.TemporaryDirectory(prefix="celadon-bench-") as directory:
        Path(directory).chmod(0o711)
        async with Stack(Path(directory) / "stack") as stack:
            addresses = stack.addresses
            temporal = await Client.connect(addresses.temporal_address, data_converter=pydantic_data_converter)
            async with Table(addresses.database_url, "celadon-bench") as table:
                bench = Bench(addresses, temporal, table)
                await bench.go_live()
                rows: list[Figures] = []
                for size in sizes:
                    await bench.fill(size)
                    await bench.switch()
                    rows += figures(size, [await bench.switch() for _ in range(switches)])
                return rows, await bench.cost()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--deployments", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    rows, cost = asyncio.run(measure(chosen.switches, chosen.deployments))
    if chosen.json:
        print(json.dumps({"switch": [asdict(row) for row in rows], "rollout": asdict(cost)}))
        return
    grid = Grid("deployments", "step", "switches", "median ms", "p99 ms", "largest ms")
    for row in rows:
        grid.add_row(*(str(value) for value in asdict(row).values()))
    console = Console(width=120)
    console.print(grid)
    console.print(
        f"one rollout, promoted and rolled back: {cost.history_events} events, {cost.billable_actions} actions"
    )


if __name__ == "__main__":
    main()
