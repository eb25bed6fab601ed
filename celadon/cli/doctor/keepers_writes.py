"""Writing what only a keeper may write, without ever acting beside one that lives."""

import socket
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.cli.faults import CommandError
from celadon.cli.table_access import database_faults_told
from celadon.domain.language.names import Fence
from celadon.keeper.lease import Lease
from celadon.table.core.engine import Table
from celadon.table.core.fences import LeaseLostError, living_fence

HOLDER: Final = "celadon doctor"
"""How the lease is marked while doctor holds it."""

_ATTEMPTS: Final = 5

AnswerT = TypeVar("AnswerT")


async def write_as_keeper(
    table: Table,
    change: Callable[[AsyncSession, Fence], Awaitable[AnswerT]],
) -> AnswerT:
    """Run one change that a keeper makes, in one transaction.

    Under the fence of the keeper that lives, which cannot lose its lease before the transaction ends; where none
    lives, under the lease itself, which is given back at once. So ``change`` must be one that the keeper would make
    too, and bear that the keeper makes it first.

    Raises:
        CommandError: Postgres is away, or keepers took the lease from each other meanwhile.

    """
    with database_faults_told(table.database_url):
        for _ in range(_ATTEMPTS):
            try:
                async with table.transaction() as tx:
                    fence = await living_fence(tx)
                    if fence is not None:
                        return await change(tx, fence)
                lease = await Lease.take(table, f"{HOLDER} on {socket.gethostname()}")
                if lease is not None:
                    return await _under(lease, table, change)
            except LeaseLostError:
                # Another keeper has taken over in between: ask again whose turn it is.
                continue
    raise CommandError("keepers take the lease from one another; try again")


async def _under(
    lease: Lease,
    table: Table,
    change: Callable[[AsyncSession, Fence], Awaitable[AnswerT]],
) -> AnswerT:
    try:
        lease.check()
        async with table.transaction() as tx:
            return await change(tx, lease.fence)
    finally:
        await lease.release()
