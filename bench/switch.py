"""How long a promotion takes: answered, and acknowledged by the last router; and the switch back.

On whole local stacks with two replicas a colour. The same switches are made with different numbers of routers, and
beside different numbers of other deployments. Before each promotion the same green is promoted by its parts alone.

    python -m bench.switch --switches 30 --routers 1 3 --deployments 1 1000
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from bench.figures import spread
from bench.line import PATIENCE_SECONDS, Line, model_server, rollout_request, running_line
from bench.parts import Parts, parts_alone
from bench.report import Cell, Grid, run_bench
from celadon.domain.language.commands import AbortCommand, PromoteCommand
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.states import DeploymentLifecycle, RolloutOutcome
from celadon.stack.demo.history import billable_actions
from celadon.table.core.epoch import raise_epoch
from celadon.table.core.models import Deployment, RouterAck

NAME: Final = "switched"
ANSWERED: Final = "promotion sent until answered"
ACKNOWLEDGED: Final = "of that, switch begun until the last acknowledgement"
BACK_ANSWERED: Final = "switch back sent until answered"
BACK_ACKNOWLEDGED: Final = "of that, switch back begun until the last acknowledgement"
PARTS: Final = "the parts of a promotion alone, sent until answered"
STEPS: Final = (PARTS, ANSWERED, ACKNOWLEDGED, BACK_ANSWERED, BACK_ACKNOWLEDGED)


def _request(label: str) -> RolloutRequest:
    return rollout_request(NAME, 2, model_server(label), auto_promote=False, bake="10m")


async def fill(line: Line, deployments: int) -> None:
    """Let there be so many deployments; the others serve nothing."""
    names = [f"other-{number}" for number in range(1, deployments)]
    if not names:
        return
    async with line.table.transaction() as tx:
        rows = [{"name": name, "replicas": 0, "lifecycle": DeploymentLifecycle.PENDING, "policy": {}} for name in names]
        await tx.execute(insert(Deployment).values(rows).on_conflict_do_nothing())
        for name in names:
            await raise_epoch(tx, name)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while await _acknowledged(line, names) < len(names) * len(line.addresses.routers):
        if time.monotonic() > deadline:
            raise TimeoutError("the routers did not acknowledge the other deployments")
        await asyncio.sleep(0.1)


async def _acknowledged(line: Line, names: Sequence[str]) -> int:
    async with line.table.transaction() as tx:
        statement = select(func.count()).select_from(RouterAck).where(RouterAck.deployment.in_(names))
        return await tx.scalar(statement) or 0


async def _switch(line: Line, parts: Parts) -> dict[str, float]:
    """Roll out, promote, switch back; return the milliseconds of each step."""
    await line.begin(_request("r2"))
    alone = await parts.promote()
    began = time.perf_counter()
    promoted = await line.rollouts.promote(NAME, PromoteCommand(by="bench"))
    answered = time.perf_counter()
    back = await line.rollouts.rollback(NAME, AbortCommand(by="bench"))
    back_answered = time.perf_counter()
    if promoted.silent or back.silent:
        raise RuntimeError(f"routers were silent, so the figures mean nothing: {promoted.silent} {back.silent}")
    await line.end(NAME, RolloutOutcome.ROLLED_BACK)
    return {
        PARTS: alone,
        ANSWERED: (answered - began) * 1000,
        ACKNOWLEDGED: promoted.ms,
        BACK_ANSWERED: (back_answered - answered) * 1000,
        BACK_ACKNOWLEDGED: back.ms,
    }


async def measure_on(line: Line, switches: int, sizes: Sequence[int]) -> tuple[Grid, Grid]:
    """Measure on one stack, whatever its shape; the second table says what the last rollout cost."""
    routers = len(line.addresses.routers)
    await line.go_live(_request("r1"))
    rows: list[dict[str, Cell]] = []
    first: dict[str, float] = {}
    async with parts_alone(line, NAME) as parts:
        for size in sizes:
            await fill(line, size)
            await _switch(line, parts)
            rounds = [await _switch(line, parts) for _ in range(switches)]
            for step in STEPS:
                taken = spread([one[step] for one in rounds])
                median = taken["median ms"]
                rows.append(
                    {
                        "routers": routers,
                        "deployments": size,
                        "step": step,
                        "times": switches,
                        **taken,
                        "p99 of the median": round(taken["p99 ms"] / median, 2),
                        "of the parts alone": round(median / statistics.median(one[PARTS] for one in rounds), 2),
                        "ratio of medians": round(median / first.setdefault(step, median), 2),
                    },
                )
    events = await line.history(NAME)
    cost = {"history events": len(events), "billable actions": billable_actions(events)}
    return (
        Grid(title=f"Switches with {routers} router{'s' if routers > 1 else ''}", rows=tuple(rows)),
        Grid(title="What one rollout costs Temporal, promoted by a person and then rolled back", rows=(cost,)),
    )


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure on a stack of its own for each number of routers."""
    grids: list[Grid] = []
    cost: Grid | None = None
    for routers in chosen.routers:
        async with running_line(routers=routers) as line:
            switches, cost = await measure_on(line, chosen.switches, chosen.deployments)
            grids.append(switches)
    return grids if cost is None else [*grids, cost]


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--switches", type=int, default=30)
    parser.add_argument("--routers", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--deployments", type=int, nargs="+", default=[1, 1000])


if __name__ == "__main__":
    run_bench("switch", __doc__, declare, measure)
