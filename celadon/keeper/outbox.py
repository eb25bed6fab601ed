"""The outbox: signals that rollouts are owed, sent until Temporal has taken them."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import structlog

from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.metrics import KeeperMetrics
from celadon.keeper.signalling import Signaller, TemporalUnreachableError, WorkflowGoneError
from celadon.racing import task_group, wait_at_most
from celadon.table.keeping import OwedSignal, count_owed_signals, read_owed_signals, signal_taken

_AT_ONCE: Final = 16
_BATCH: Final = 500
_IDLE_SECONDS: Final = 10.0
_FIRST_RETRY_SECONDS: Final = 0.25
_LAST_RETRY_SECONDS: Final = 5.0

log = structlog.get_logger()


class Outbox:
    """Delivers owed signals, each workflow's in their order."""

    def __init__(self, table: FencedTable, signaller: Signaller, metrics: KeeperMetrics) -> None:
        """Deliver from ``table`` through ``signaller``."""
        self._table = table
        self._signaller = signaller
        self._metrics = metrics

    async def deliver_until_cancelled(self) -> None:
        """Deliver signals soon after they were written.

        Raises:
            LeaseLostError: the keeper must not act any more.

        """
        retry = _FIRST_RETRY_SECONDS
        while True:
            self._table.owing.clear()
            owed = await self._table.read(lambda tx: read_owed_signals(tx, _BATCH))
            self._metrics.outbox.set(
                len(owed) if len(owed) < _BATCH else await self._table.read(count_owed_signals),
            )
            if not owed:
                retry = _FIRST_RETRY_SECONDS
                await wait_at_most(self._table.owing, _IDLE_SECONDS)
            elif not await self._deliver(owed):
                await asyncio.sleep(retry)
                retry = min(retry * 2, _LAST_RETRY_SECONDS)

    async def _deliver(self, owed: Sequence[OwedSignal]) -> bool:
        """Send signals; return whether Temporal took all of them."""
        by_workflow: defaultdict[str, list[OwedSignal]] = defaultdict(list)
        for one in owed:
            by_workflow[one.workflow_id].append(one)
        permits = asyncio.Semaphore(_AT_ONCE)

        async def deliver(signals: Sequence[OwedSignal]) -> bool:
            async with permits:
                return await self._deliver_in_order(signals)

        async with task_group() as group:
            tasks = [group.create_task(deliver(signals)) for signals in by_workflow.values()]
        return all(task.result() for task in tasks)

    async def _deliver_in_order(self, signals: Sequence[OwedSignal]) -> bool:
        for one in signals:
            self._table.check_lease()
            try:
                await self._signaller.signal(one.workflow_id, one.signal, one.payload)
            except WorkflowGoneError:
                log.info("signal_dropped", workflow=one.workflow_id, signal=one.signal, why="its workflow is gone")
            except TemporalUnreachableError as error:
                log.warning("signal_not_taken", workflow=one.workflow_id, signal=one.signal, error=str(error))
                return False
            await self._forget(one)
        return True

    async def _forget(self, owed: OwedSignal) -> None:
        await self._table.write(lambda tx, fence: signal_taken(tx, fence, owed))
