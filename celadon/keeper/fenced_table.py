"""The table as a keeper uses it: nothing is written without the lease, and outages are waited out."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import Fence
from celadon.keeper.lease import Lease
from celadon.table.core.engine import Table
from celadon.table.core.outages import TABLE_OUTAGES, NotMigratedError
from celadon.table.core.owed_signals import owes_signal

_FIRST_RETRY_SECONDS: Final = 0.1
_LAST_RETRY_SECONDS: Final = 1.0

_WRITES_AT_ONCE: Final = 8
"""Fewer than a table has connections: however many replicas have news, a read never queues behind all of them."""

T = TypeVar("T")
log = structlog.get_logger()


def _count_nothing() -> None:
    """Count nowhere."""


class FencedTable:
    """Reads and writes for as long as the lease is held."""

    def __init__(
        self,
        table: Table,
        lease: Lease,
        count_outage: Callable[[], None] = _count_nothing,
        first_retry_seconds: float = _FIRST_RETRY_SECONDS,
    ) -> None:
        """Write under ``lease``; ``count_outage`` is called for each attempt that is made again."""
        self._count_outage = count_outage
        self._first_retry = first_retry_seconds
        self._table = table
        self._lease = lease
        self._turn: asyncio.Lock | None = None
        self._writes = asyncio.Semaphore(_WRITES_AT_ONCE)
        self.owing = asyncio.Event()
        """Set by every write after which a signal is owed."""

    def in_turn(self) -> "FencedTable":
        """Return the same table for one set, whose writes wait for one another here.

        They lock the same rows, so they would wait in any case; but in the database each would hold a connection, and
        all of them would stand in the queue before a switch of their deployment.
        """
        view = FencedTable(self._table, self._lease, self._count_outage, self._first_retry)
        view.owing = self.owing
        view._writes = self._writes
        view._turn = asyncio.Lock()
        return view

    def check_lease(self) -> None:
        """Make sure, before a side effect outside of the table, that the lease is still held.

        Raises:
            LeaseLostError: it may be another's by now.

        """
        self._lease.check()

    async def read(self, query: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run a query, which only reads, again until the table answers.

        Raises:
            LeaseLostError: the lease was lost meanwhile.

        """
        return await self._retry(query, self._table.reading)

    async def write(self, change: Callable[[AsyncSession, Fence], Awaitable[T]]) -> T:
        """Run a change in one transaction, again until it is committed; so a change must bear a second run.

        Raises:
            LeaseLostError: the lease was lost; whether the change was committed is not known.

        """

        async def run(tx: AsyncSession) -> tuple[T, bool]:
            return await change(tx, self._lease.fence), owes_signal(tx)

        async with self._turn or contextlib.nullcontext():
            result, is_owing = await self._retry(run, self._table.transaction, self._writes)
        if is_owing:
            self.owing.set()
        return result

    async def _retry(
        self,
        run: Callable[[AsyncSession], Awaitable[T]],
        opened: Callable[[], AbstractAsyncContextManager[AsyncSession]],
        permits: asyncio.Semaphore | None = None,
    ) -> T:
        """Run until it is done; each attempt takes a permit of its own.

        So a change that has to wait for its rows, however long, keeps nobody else from trying. What waiting does not
        heal is raised: then the part that asked fails, and no other.
        """
        pause = self._first_retry
        while True:
            self._lease.check()
            try:
                async with permits or contextlib.nullcontext(), opened() as tx:
                    return await run(tx)
            except (*TABLE_OUTAGES, NotMigratedError) as error:
                self._count_outage()
                log.warning("table_not_used", error=str(error) or type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_RETRY_SECONDS)
