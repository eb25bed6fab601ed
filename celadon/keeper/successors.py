"""The keeper starts what has waited for its turn."""

from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from celadon.domain.decisions.turn import next_attempt_after
from celadon.keeper.faults import attempt
from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.metrics import KeeperMetrics
from celadon.keeper.signalling import RolloutStarter
from celadon.table.core.listen import NEXT_CHANNEL, Listener
from celadon.table.replicas.due_rollouts import DueRollout, read_due_rollouts

_REREAD: Final = timedelta(seconds=5)
"""How often the table is read although nothing was heard: notifications are not kept while nobody listens."""

log = structlog.get_logger()


async def start_successors_until_cancelled(
    table: FencedTable, starter: RolloutStarter, listener: Listener, metrics: KeeperMetrics
) -> None:
    """Start what has waited as soon as the rollout before it has closed, each whatever happens to another.

    It waits in the table until its own begin takes it, so that a keeper that dies in between leaves it to the next one.

    Raises:
        LeaseLostError: the keeper must not act any more.

    """
    async with listener.subscribe(NEXT_CHANNEL) as heard:
        while True:
            due = await table.read(read_due_rollouts)
            for one in due:
                table.check_lease()
                await attempt("successors", partial(_start, starter, one), metrics, deployment=one.deployment)
            pauses = [next_attempt_after(one.now - one.due_at) for one in due]
            await heard.get(min([*pauses, _REREAD]).total_seconds())


async def _start(starter: RolloutStarter, due: DueRollout) -> None:
    if await starter.start_next(due.deployment, due.number):
        log.info("successor_started", deployment=due.deployment, next=due.number)
