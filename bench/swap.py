"""What the switch transaction costs as a deployment grows, against the same statements in raw asyncpg.

On a Postgres that waits for its disk. Celadon's own function runs as the activity runs it; the statements that it sent
are then sent again, with the same parameters, over a plain connection. Both take turns in one run.

    python -m bench.swap --routes 10 1000 10000 100000 --rounds 200
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import asyncpg
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncSession

from bench.figures import percentile
from bench.line import rollout_request
from bench.report import Cell, Grid, run_bench
from bench.statements import Statement, noted_statements
from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.contracts import PROMOTE, workflow_id
from celadon.domain.language.names import RouteSetId
from celadon.domain.language.states import Channel, RolloutOutcome
from celadon.domain.language.steps import BeginStep, Begun, FinishStep, Message, Step, SwitchStep
from celadon.stack.postgres import running_postgres
from celadon.table.core.engine import Table
from celadon.table.core.migrate import upgrade
from celadon.table.replicas.leases import take_lease
from celadon.table.rollouts.begin import begin
from celadon.table.rollouts.finish import finish
from celadon.table.rollouts.route_sets import open_green
from celadon.table.rollouts.switch import switch

NAME: Final = "swapped"
WARM_UP_ROUNDS: Final = 10

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_TRUSTING: Final = Authority(unsigned=Unsigned.ALL)

_FILL: Final = (
    "update route_sets set wanted = $2::int where id = $1::bigint",
    """
    insert into routes (id, set_id, host, port, status, health, health_fence, started_at)
    select gen_random_uuid(), $1::bigint, '127.0.0.1', 8000, 'running', 'healthy', (select fence from keepers), now()
    from generate_series(1, $2::int)
    """,
)
"""Straight into the table, over a connection without a time limit: a request may not ask for the largest size."""

_UNDO: Final = (
    text("update deployments set live_set = :blue where name = :name"),
    text("update rollouts set switch_epoch = null, switched_at = null where id = :rollout"),
)


@dataclass(frozen=True)
class _Arranged:
    """A deployment with both colours full, ready to be switched."""

    step: SwitchStep
    blue: RouteSetId


class _Swaps:
    """One database under measurement."""

    def __init__(self, table: Table, raw: Connection) -> None:
        self._table = table
        self._raw = raw

    async def arrange(self, routes: int) -> _Arranged:
        """Write a live blue and a healthy green of so many routes; their keeper never falls silent."""
        async with self._table.transaction() as tx:
            await take_lease(tx, "bench")
            await tx.execute(text("update keepers set seen_at = now() + interval '1 day'"))
        first, blue = await self._open("r1", routes)
        await self._switch(_switch_step(first, blue))
        async with self._table.transaction() as tx:
            ended = FinishStep(
                deployment=first.deployment,
                rollout=first.rollout,
                outcome=RolloutOutcome.PROMOTED,
                reason="",
                evidence={},
                at=datetime.now(UTC),
            )
            await finish(tx, ended)
        second, green = await self._open("r2", routes)
        await self._raw.execute("vacuum analyze")
        return _Arranged(_switch_step(second, green), blue)

    async def _open(self, label: str, routes: int) -> tuple[Begun, RouteSetId]:
        request = rollout_request(f"{NAME}-{routes}", 1, {"command": ["serve", label], "health_check": {"tcp": True}})
        identity = workflow_id(request.deployment)
        async with self._table.transaction() as tx:
            begun = await begin(
                tx,
                BeginStep(request=request, workflow_id=identity, run_id=f"{identity}-{label}", at=datetime.now(UTC)),
                _TRUSTING,
            )
            opened = await open_green(tx, Step(deployment=begun.deployment, rollout=begun.rollout))
        if opened.route_set is None:
            raise RuntimeError(opened.no_room)
        for statement in _FILL:
            await self._raw.execute(statement, opened.route_set, routes)
        return begun, opened.route_set

    async def _switch(self, step: SwitchStep) -> None:
        async with self._table.transaction() as tx:
            answer = await switch(tx, step, _TRUSTING)
        if answer.refusal is not None:
            raise RuntimeError(f"the switch was refused: {answer.refusal}")

    async def _replay(self, sent: Sequence[Statement]) -> None:
        async with self._raw.transaction():
            for statement in sent:
                await statement.send(self._raw)

    async def measure(self, arranged: _Arranged, rounds: int) -> dict[str, list[float]]:
        """Switch by both ways in turn; return the milliseconds of each, and of the healthy count alone."""
        with noted_statements() as sent:
            await self._switch(arranged.step)
        count = next(one for one in sent if "count(*)" in one.text)
        await self._undo(arranged)
        taken: dict[str, list[float]] = {"celadon": [], "raw": [], "count": []}
        for number in range(rounds + WARM_UP_ROUNDS):
            ours = await _timed(lambda: self._switch(arranged.step))
            await self._undo(arranged)
            raw = await _timed(lambda: self._replay(sent))
            await self._undo(arranged)
            alone = await _timed(lambda: count.send(self._raw))
            if number >= WARM_UP_ROUNDS:
                for name, milliseconds in zip(taken, (ours, raw, alone), strict=True):
                    taken[name].append(milliseconds)
        return taken

    async def _undo(self, arranged: _Arranged) -> None:
        async with self._table.transaction() as tx:
            await _execute_all(
                tx, {"blue": arranged.blue, "name": arranged.step.deployment, "rollout": arranged.step.rollout}
            )


async def _execute_all(tx: AsyncSession, values: dict[str, Any]) -> None:
    for statement in _UNDO:
        await tx.execute(statement, values)


async def _timed(run: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await run()
    return (time.perf_counter() - began) * 1000


def _switch_step(begun: Begun, green: RouteSetId) -> SwitchStep:
    return SwitchStep(
        deployment=begun.deployment,
        rollout=begun.rollout,
        blue_set=begun.blue_set,
        green_set=green,
        by="bench",
        door=Channel.UPDATE,
        reason="",
        message=Message(verb=PROMOTE, came_by=Channel.UPDATE, command=PromoteCommand(by="bench")),
        ack_timeout_seconds=1.0,
    )


@asynccontextmanager
async def raw_connection(database_url: str) -> AsyncIterator[Connection]:
    """Open a plain connection of the driver's."""
    url = make_url(database_url)
    host, port = url.query["host"], url.query["port"]
    connection: Connection = await asyncpg.connect(
        host=str(host),
        port=int(str(port)),
        user=url.username,
        database=url.database,
    )
    try:
        yield connection
    finally:
        await connection.close()


async def measure_on(database_url: str, sizes: list[int], rounds: int) -> list[Grid]:
    """Measure in a migrated database."""
    rows: list[dict[str, Cell]] = []
    async with Table(database_url, "celadon-bench") as table, raw_connection(database_url) as raw:
        swaps = _Swaps(table, raw)
        first: float | None = None
        for routes in sizes:
            taken = await swaps.measure(await swaps.arrange(routes), rounds)
            ours, same = statistics.median(taken["celadon"]), statistics.median(taken["raw"])
            first = first or ours
            rows.append(
                {
                    "routes a colour": routes,
                    "times": rounds,
                    "switch median ms": round(ours, 2),
                    "switch p99 ms": round(percentile(taken["celadon"], 0.99), 2),
                    "raw median ms": round(same, 2),
                    "raw p99 ms": round(percentile(taken["raw"], 0.99), 2),
                    "ratio to raw": round(ours / same, 2),
                    "of it healthy count ms": round(statistics.median(taken["count"]), 2),
                    "growth": round(ours / first, 2),
                },
            )
    return [Grid(title="The switch transaction", rows=tuple(rows))]


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure on a Postgres of its own, in a directory that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="celadon-bench-") as directory:
        # Root's Postgres runs as another user, who must get through.
        Path(directory).chmod(0o711)
        async with running_postgres(Path(directory)) as url:
            await upgrade(url)
            return await measure_on(url, chosen.routes, chosen.rounds)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--routes", type=int, nargs="+", default=[10, 1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=200)


if __name__ == "__main__":
    run_bench("swap", __doc__, declare, measure)
