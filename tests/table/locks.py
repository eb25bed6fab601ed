"""Waiting until a transaction waits for another one."""

import asyncio
from typing import Final

from sqlalchemy import text

from celadon.table.core.engine import Table

DEADLINE_SECONDS: Final = 30.0
"""Less than the table of tests lets a transaction pause that holds the lock."""


async def until_somebody_waits(table: Table, count: int = 1) -> None:
    """Return when ``count`` transactions of this database wait for locks that others hold."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            async with table.transaction() as tx:
                waiting = await tx.scalar(
                    text("""
                        select count(*) from pg_locks join pg_stat_activity using (pid)
                        where not granted and datname = current_database()
                    """),
                )
            if waiting is not None and waiting >= count:
                return
            await asyncio.sleep(0.01)
