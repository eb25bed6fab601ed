"""How long promotions take whose worker is killed (SIGKILL) while they are under way, with one worker and with two.

Some deployments are promoted one after the other within some milliseconds, and right after that the worker that holds
the keeper's lease is killed: before it has a workflow task, while it works on one, while it switches, or after it has.
The supervisor starts it anew; with two workers the other one goes on meanwhile.

    python -m bench.kill --kills 4 --promotions 6 --workers 1 2
"""

import argparse
import asyncio
import os
import random
import signal
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import select

from bench.figures import spread
from bench.line import PATIENCE_SECONDS, Line, model_server, rollout_request, running_line
from bench.report import Grid, run_bench
from celadon.client.patience import NoAnswerError
from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.states import RolloutOutcome
from celadon.stack.restart_policy import STEADY_AFTER
from celadon.table.core.models import KeeperLease

PROMOTED_WITHIN_SECONDS: Final = 0.06
"""An undisturbed promotion is answered by then, as a rule."""

_STARTED_WITHIN_SECONDS: Final = 5.0
"""A worker's steady run is counted from when it is ready."""

_POLL_SECONDS: Final = 0.05


def _name(number: int) -> str:
    return f"struck-{number}"


def _request(number: int, label: str) -> RolloutRequest:
    return rollout_request(_name(number), 1, model_server(label), auto_promote=False, bake="0s", drain_timeout="1s")


async def _holder(line: Line) -> int:
    """Return the process id of the worker that holds the keeper's lease."""
    async with line.table.transaction() as tx:
        holder = (await tx.scalars(select(KeeperLease.holder))).one()
    return int(holder.rpartition("/")[2])


async def _until_steady(line: Line, workers: int, steady_after: timedelta) -> None:
    """Wait until each worker has served for ``steady_after``, and one has the lease."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        steady_since = time.time() - steady_after.total_seconds() - _STARTED_WITHIN_SECONDS
        pids = [
            one.pid
            for one in line.stack.children
            if one.name.startswith("worker") and one.state == "ready" and (one.started_at or 0.0) < steady_since
        ]
        if len(pids) == workers and await _holder(line) in pids:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the workers did not come back, {pids} are steady")
        await asyncio.sleep(_POLL_SECONDS)


async def _promote(line: Line, number: int, request_id: str, after: float) -> float:
    """Promote as a client does that repeats its request until it is answered; return the milliseconds to that."""
    await asyncio.sleep(after)
    began = time.perf_counter()
    while True:
        try:
            await line.rollouts.promote(_name(number), PromoteCommand(by="bench"), request_id=request_id)
        except NoAnswerError:
            if time.perf_counter() > began + PATIENCE_SECONDS:
                raise
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return (time.perf_counter() - began) * 1000


async def _strike(
    line: Line, label: str, moments: Sequence[float], workers: int, steady_after: timedelta
) -> list[float]:
    """Roll all out, promote them at moments before the kill; return how long each took."""
    numbers = range(len(moments))
    await asyncio.gather(*(line.begin(_request(number, label)) for number in numbers))
    await _until_steady(line, workers, steady_after)
    holder = await _holder(line)
    promotions = [
        asyncio.create_task(_promote(line, number, f"{label}-{number}", PROMOTED_WITHIN_SECONDS - moment))
        for number, moment in enumerate(moments)
    ]
    await asyncio.sleep(PROMOTED_WITHIN_SECONDS)
    os.kill(holder, signal.SIGKILL)
    taken = await asyncio.gather(*promotions)
    await asyncio.gather(*(line.end(_name(number), RolloutOutcome.PROMOTED) for number in numbers))
    return taken


async def measure_on(
    line: Line, kills: int, promotions: int, workers: int, steady_after: timedelta = STEADY_AFTER
) -> Grid:
    """Measure on one stack that has so many workers, none of which is killed before ``steady_after``.

    By then the death of a worker is its first.
    """
    # The same moments each time.
    dice = random.Random(7)
    await asyncio.gather(*(line.go_live(_request(number, "r0")) for number in range(promotions)))
    taken: list[float] = []
    for number in range(1, kills + 1):
        moments = [dice.uniform(0, PROMOTED_WITHIN_SECONDS) for _ in range(promotions)]
        of_kill = await _strike(line, f"r{number}", moments, workers, steady_after)
        print(f"workers {workers}, kill {number}: answered after {[round(one) for one in of_kill]} ms", flush=True)
        taken += of_kill
    return Grid(
        title=f"Promotions whose worker was killed, {workers} worker{'s' if workers > 1 else ''}: sent until answered",
        rows=({"workers": workers, "kills": kills, "promotions": len(taken), **spread(taken)},),
    )


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure on a stack of its own for each number of workers."""
    grids: list[Grid] = []
    for workers in chosen.workers:
        async with running_line(workers=workers) as line:
            grids.append(await measure_on(line, chosen.kills, chosen.promotions, workers))
    return grids


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--promotions", type=int, default=6, help="deployments that are promoted before each kill")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])


if __name__ == "__main__":
    run_bench("kill", __doc__, declare, measure)
