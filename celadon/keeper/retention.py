"""What the keeper does for the table itself: deletes what has had its time, rarely and little by little."""

import asyncio
from functools import partial
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import Fence
from celadon.domain.language.states import Channel
from celadon.keeper.faults import attempt
from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.metrics import KeeperMetrics
from celadon.table.core.author import Asker
from celadon.table.core.fences import hold_fence
from celadon.table.retention.deployments import Tally, prune_some, read_deployment_names, tell_pruned
from celadon.table.retention.installation import INSTALLATION_TABLES, claim_turn, prune_some_of

_LOOK_SECONDS: Final = 300.0
"""How often a keeper asks whether it is time to prune, the first time this long after it took the lease."""

_BETWEEN_SECONDS: Final = 0.05
"""Between two transactions, so that pruning never keeps the table busy."""

log = structlog.get_logger()

_KEEPER: Final = Asker(by="keeper", door=Channel.KEEPER, reason="it has had its time")


async def prune_until_cancelled(
    table: FencedTable, metrics: KeeperMetrics, look_seconds: float = _LOOK_SECONDS
) -> None:
    """Prune once an hour, whichever keeper has the lease then.

    Raises:
        LeaseLostError: the keeper must not act any more.

    """
    while True:
        await asyncio.sleep(look_seconds)
        if await table.write(_claim):
            await prune(table, metrics)


async def prune(table: FencedTable, metrics: KeeperMetrics) -> Tally:
    """Delete all that has had its time, each deployment and table whatever happens to another; return what went.

    Raises:
        LeaseLostError: the keeper must not act any more.

    """
    total = Tally()
    for deployment in await table.read(read_deployment_names):
        await attempt(
            "retention", partial(_prune_deployment, table, metrics, deployment, total), metrics, deployment=deployment
        )
    for name in INSTALLATION_TABLES:
        await attempt("retention", partial(_prune_table, table, metrics, name, total), metrics, table=name)
    if total.total():
        log.info("pruned", **{name: count for name, count in sorted(total.items()) if count})
    return total


async def _claim(tx: AsyncSession, fence: Fence) -> bool:
    await hold_fence(tx, fence)
    return await claim_turn(tx)


async def _prune_deployment(table: FencedTable, metrics: KeeperMetrics, deployment: str, total: Tally) -> None:
    async def some(tx: AsyncSession, fence: Fence) -> Tally:
        await hold_fence(tx, fence)
        return await prune_some(tx, deployment)

    async def tell(tx: AsyncSession, fence: Fence) -> None:
        await hold_fence(tx, fence)
        await tell_pruned(tx, deployment, went, _KEEPER)

    went = Tally()
    while (step := await table.write(some)).total():
        went += step
        _count(metrics, step, total)
        await asyncio.sleep(_BETWEEN_SECONDS)
    if went.total():
        await table.write(tell)


async def _prune_table(table: FencedTable, metrics: KeeperMetrics, name: str, total: Tally) -> None:
    async def some(tx: AsyncSession, fence: Fence) -> Tally:
        await hold_fence(tx, fence)
        return await prune_some_of(tx, name)

    while (step := await table.write(some)).total():
        _count(metrics, step, total)
        await asyncio.sleep(_BETWEEN_SECONDS)


def _count(metrics: KeeperMetrics, step: Tally, total: Tally) -> None:
    total.update(step)
    for name, count in step.items():
        metrics.pruned_rows.labels(name).inc(count)
