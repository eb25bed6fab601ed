"""The outbox: signals that rollouts are owed, sent until Temporal has taken them."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from celadon.keeper.faults import attempt
from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.metrics import KeeperMetrics
from celadon.keeper.signalling import (
    Signaller,
    SignalsExhaustedError,
    SignalUncertainError,
    WorkflowGoneError,
)
from celadon.racing import task_group, wait_at_most
from celadon.table.replicas.outbox import OwedSignal, count_owed_signals, read_owed_signals, signal_taken

_AT_ONCE: Final = 64
"""Workflows that are sent signals at the same time: so many may keep Temporal waiting before another one waits."""

_BATCH: Final = 500
_IDLE_SECONDS: Final = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Pauses:
    """How long a workflow rests after one failure, and at most after many."""

    first: float
    last: float


_UNREACHABLE: Final = _Pauses(first=0.25, last=5.0)
_EXHAUSTED: Final = _Pauses(first=1.0, last=30.0)
"""Until the workflow continues as new, which it does by itself."""


@dataclass(frozen=True, slots=True)
class _Rest:
    """A workflow is left alone until a moment of the monotonic clock, after a pause of so many seconds."""

    until: float
    seconds: float


class Outbox:
    """Delivers owed signals, each workflow's in their order; the trouble of one workflow delays no other."""

    def __init__(self, table: FencedTable, signaller: Signaller, metrics: KeeperMetrics) -> None:
        """Deliver from ``table`` through ``signaller``."""
        self._table = table
        self._signaller = signaller
        self._metrics = metrics
        self._sending: set[str] = set()
        """Workflows that are being sent signals."""
        self._rests: dict[str, _Rest] = {}
        """Workflows that did not take their last signal."""
        self._permits = asyncio.Semaphore(_AT_ONCE)

    async def deliver_until_cancelled(self) -> None:
        """Deliver signals soon after they were written.

        Raises:
            LeaseLostError: the keeper must not act any more.

        """
        self._sending.clear()
        async with task_group() as group:
            while True:
                self._table.owing.clear()
                if not await self._begin_deliveries(group):
                    await wait_at_most(self._table.owing, self._until_next_rest_ends())

    async def _begin_deliveries(self, group: asyncio.TaskGroup) -> bool:
        """Begin to send what is owed to workflows that neither rest nor are being sent to; true when more may be."""
        now = time.monotonic()
        passed_over = self._sending | {workflow for workflow, rest in self._rests.items() if rest.until > now}
        owed = await self._table.read(lambda tx: read_owed_signals(tx, _BATCH, passed_over))
        is_all = len(owed) < _BATCH
        self._metrics.outbox.set(
            len(owed) if is_all and not passed_over else await self._table.read(count_owed_signals),
        )
        by_workflow = _by_workflow(owed)
        if is_all:
            # What others have sent or dropped meanwhile is owed no more.
            for workflow in self._rests.keys() - passed_over - by_workflow.keys():
                del self._rests[workflow]
        for workflow, signals in by_workflow.items():
            self._sending.add(workflow)
            group.create_task(self._deliver(workflow, signals))
        return not is_all

    def _until_next_rest_ends(self) -> float:
        ends = [rest.until for workflow, rest in self._rests.items() if workflow not in self._sending]
        return max(0.0, min([time.monotonic() + _IDLE_SECONDS, *ends]) - time.monotonic())

    async def _deliver(self, workflow: str, signals: Sequence[OwedSignal]) -> None:
        """Send one workflow's signals; let it rest if one was not taken."""
        failed: _Pauses | None = _UNREACHABLE

        async def deliver() -> None:
            nonlocal failed
            failed = await self._deliver_in_order(signals)

        async with self._permits:
            await attempt("outbox", deliver, self._metrics, workflow=workflow)
        if failed is None:
            self._rests.pop(workflow, None)
        else:
            before = self._rests.get(workflow)
            seconds = failed.first if before is None else min(max(before.seconds * 2, failed.first), failed.last)
            self._rests[workflow] = _Rest(time.monotonic() + seconds, seconds)
        self._sending.discard(workflow)
        # More may have been written for it meanwhile, or its rest is the next to end.
        self._table.owing.set()

    async def _deliver_in_order(self, signals: Sequence[OwedSignal]) -> _Pauses | None:
        """Send signals until one is not taken; return how to rest before that one is sent again."""
        for one in signals:
            self._table.check_lease()
            try:
                await self._signaller.signal(one.workflow_id, one.signal, one.payload)
            except WorkflowGoneError:
                log.info("signal_dropped", workflow=one.workflow_id, signal=one.signal, why="its workflow is gone")
            except SignalsExhaustedError as error:
                log.warning("signals_exhausted", workflow=one.workflow_id, signal=one.signal, error=str(error))
                return _EXHAUSTED
            except SignalUncertainError as error:
                log.warning("signal_not_taken", workflow=one.workflow_id, signal=one.signal, error=str(error))
                return _UNREACHABLE
            await self._forget(one)
        return None

    async def _forget(self, owed: OwedSignal) -> None:
        await self._table.write(lambda tx, fence: signal_taken(tx, fence, owed))


def _by_workflow(owed: Collection[OwedSignal]) -> Mapping[str, Sequence[OwedSignal]]:
    by_workflow: defaultdict[str, list[OwedSignal]] = defaultdict(list)
    for one in owed:
        by_workflow[one.workflow_id].append(one)
    return by_workflow
