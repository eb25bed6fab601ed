"""Waiting until a transaction waits for another one."""

import asyncio

from sqlalchemy import text

from celadon.table.engine import Table


async def until_somebody_waits(table: Table) -> None:
    """Return when a transaction of this database waits for a lock that another one holds."""
    async with asyncio.timeout(5):
        while True:
            async with table.transaction() as tx:
                waiting = await tx.scalar(
                    text("""
                        select count(*) from pg_locks join pg_stat_activity using (pid)
                        where not granted and datname = current_database()
                    """),
                )
            if waiting:
                return
            await asyncio.sleep(0.01)
