"""What the keeper does for rollouts: tells those that wait for routers, and ends those whose workflow is gone."""

import asyncio
from functools import partial
from typing import Final

import structlog

from celadon.keeper.faults import attempt
from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.metrics import KeeperMetrics
from celadon.keeper.signalling import WorkflowDirectory
from celadon.table.core.listen import ACKS_CHANNEL, Listener
from celadon.table.core.unfinished_rollouts import UnfinishedRollout, read_unfinished_rollouts
from celadon.table.replicas.abandoned_rollouts import abandon_rollout
from celadon.table.replicas.waiting_rollouts import WaitingRollout, read_waiting_rollouts, tell_when_caught_up

_ACKNOWLEDGEMENT_SECONDS: Final = 1.0
"""A router also ceases to be silent by going away, which nobody notifies."""

_COMPARISON_SECONDS: Final = 30.0

log = structlog.get_logger()


async def tell_caught_up_until_cancelled(table: FencedTable, listener: Listener, metrics: KeeperMetrics) -> None:
    """Tell rollouts soon after the last router they wait for has acknowledged, each whatever happens to another.

    Raises:
        LeaseLostError: the keeper must not act any more.

    """
    async with listener.subscribe(ACKS_CHANNEL) as heard:
        while True:
            for waiting in await table.read(read_waiting_rollouts):
                await attempt("routers", partial(_tell, table, waiting), metrics, rollout=waiting.rollout)
            await heard.get(_ACKNOWLEDGEMENT_SECONDS)


async def end_left_rollouts_until_cancelled(
    table: FencedTable,
    workflows: WorkflowDirectory,
    metrics: KeeperMetrics,
) -> None:
    """Compare unfinished rollouts with Temporal now and then; end those that no workflow carries any more.

    Raises:
        LeaseLostError: the keeper must not act any more.

    """
    while True:
        for rollout in await _unlisted(table, workflows):
            end = partial(_end_left, table, workflows, rollout)
            await attempt("rollouts", end, metrics, rollout=rollout.rollout)
        await asyncio.sleep(_COMPARISON_SECONDS)


async def _unlisted(table: FencedTable, workflows: WorkflowDirectory) -> list[UnfinishedRollout]:
    """Return the unfinished rollouts whose workflow Temporal does not list as running.

    To ask for each costs Temporal about 7 ms of a core a minute and rollout, all that a rollout costs which waits.
    A list that lags names too many for a moment, and the next comparison finds them; what it does not name is asked.
    """
    unfinished = await table.read(read_unfinished_rollouts)
    listed = await workflows.listed() if unfinished else None
    return [one for one in unfinished if listed is None or one.workflow_id not in listed]


async def _tell(table: FencedTable, waiting: WaitingRollout) -> None:
    if await table.write(lambda tx, fence: tell_when_caught_up(tx, fence, waiting)):
        log.info("routers_caught_up", deployment=waiting.deployment, rollout=waiting.rollout, epoch=waiting.epoch)


async def _end_left(table: FencedTable, workflows: WorkflowDirectory, rollout: UnfinishedRollout) -> None:
    if await workflows.is_running(rollout.workflow_id) is not False:
        return
    if await table.write(lambda tx, fence: abandon_rollout(tx, fence, rollout, "terminated")):
        log.warning("rollout_left_behind", deployment=rollout.deployment, rollout=rollout.rollout)
