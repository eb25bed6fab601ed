"""Holding a step open from outside: a row lock, a stopped process, a request that lasts."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from celadon.table.core.outages import TABLE_OUTAGES, database_trouble_named
from tests.chaos.site import Site

Blocks = Callable[[], Awaitable[bool]]


@asynccontextmanager
async def locked_row(site: Site, statement: str, **values: object) -> AsyncIterator[Blocks]:
    """Hold a row locked; yields how to ask whether somebody waits for it.

    When Postgres dies meanwhile the lock is gone by itself.
    """
    engine = create_async_engine(site.addresses.database_url, poolclass=NullPool)
    connection = await engine.connect()
    try:
        held = (await connection.execute(text(statement), values)).all()
        if not held:
            raise LookupError(f"there is no row to lock: {statement} {values}")
        holder = await connection.scalar(text("select pg_backend_pid()"))

        async def blocks() -> bool:
            waiting = await site.rows(
                "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
                "and cast(:holder as int) = any(pg_blocking_pids(pid))",
                holder=holder,
            )
            return bool(waiting)

        yield blocks
    finally:
        try:
            with database_trouble_named():
                await connection.rollback()
        except TABLE_OUTAGES:
            await connection.invalidate()
        await connection.close()
        await engine.dispose()


@asynccontextmanager
async def stopped_process(pid: int) -> AsyncIterator[None]:
    """Let a process stand still; one that was killed meanwhile is left alone."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
