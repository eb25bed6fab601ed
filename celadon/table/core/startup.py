"""What a process makes sure of before it works: connections of its own to Postgres, and this version's tables."""

import asyncio
from typing import Final

import asyncpg
import structlog
from sqlalchemy import make_url

from celadon.racing import first_to_end
from celadon.table.core.connecting import connect
from celadon.table.core.outages import (
    UPGRADE,
    DatabaseTrouble,
    NotMigratedError,
    address_refusal,
    database_trouble_named,
    trouble_of,
)
from celadon.table.core.schema_revision import current_revision, is_known_revision, newest_revision
from celadon.table.core.trouble_log import TroubleLog

POLL_SECONDS: Final = 1.0
"""How often it is looked again while the database is away or not migrated."""

_TIMEOUT_SECONDS: Final = 5.0
_ROUNDS: Final = 3
_NAME: Final = "celadon-startup"

log = structlog.get_logger()


class DatabaseRefusedError(Exception):
    """The database of ``DATABASE_URL`` cannot serve Celadon, now or later; the text is the whole sentence."""


async def usable_or_stopped(database_url: str, stop: asyncio.Event, trouble: TroubleLog) -> bool:
    """Wait until the database can be used, and return true; false when the stop is wanted before.

    Raises:
        DatabaseRefusedError: it cannot serve Celadon at all.

    """

    async def stopped() -> bool:
        await stop.wait()
        return False

    async def usable() -> bool:
        await until_usable(database_url, trouble)
        return True

    return await first_to_end(usable(), stopped())


async def until_usable(database_url: str, trouble: TroubleLog, poll_seconds: float = POLL_SECONDS) -> None:
    """Wait until the database answers and is migrated; what keeps it from that is told.

    Raises:
        DatabaseRefusedError: it cannot serve Celadon at all.

    """
    while True:
        try:
            await refuse_transaction_pooler(database_url)
            await check_revision(database_url)
        except DatabaseRefusedError:
            raise
        except Exception as error:
            refusal = address_refusal(error)
            if refusal is not None:
                where = make_url(database_url).render_as_string(hide_password=True)
                raise DatabaseRefusedError(f"Postgres lets nobody in by {where}: {refusal}") from error
            if trouble_of(error) is DatabaseTrouble.FAULT:
                raise
            trouble.tell(error)
            await asyncio.sleep(poll_seconds)
        else:
            trouble.is_over()
            return


async def check_revision(database_url: str) -> None:
    """Compare the tables' revision with the one that this version needs; newer tables are told, and may serve.

    Raises:
        NotMigratedError: the tables are missing or older.
        TableAwayError: the database does not answer.

    """
    with database_trouble_named():
        current = await current_revision(database_url)
    newest = newest_revision()
    if current == newest:
        return
    if current is not None and not is_known_revision(current):
        log.warning(
            "tables_are_newer",
            revision=current,
            known=newest,
            next_step="start the version of Celadon that has upgraded them",
        )
        return
    raise NotMigratedError(f"the tables are at revision {current or 'none'}, this Celadon needs {newest}; {UPGRADE}")


async def refuse_transaction_pooler(database_url: str) -> None:
    """Make sure that a connection keeps its server process for itself: a pooler must be in session mode.

    Two connections are open at once and ask again and again which process serves them. In Postgres itself, and through
    a pooler in session mode, each has one of its own all the time.

    Raises:
        DatabaseRefusedError: a pooler serves them by whatever process is free.
        TableAwayError: the database does not answer.

    """
    with database_trouble_named():
        first = await _open(database_url)
        try:
            second = await _open(database_url)
            try:
                shares = await _share_processes(first, second)
            finally:
                second.terminate()
        finally:
            first.terminate()
    if shares:
        where = make_url(database_url).render_as_string(hide_password=True)
        raise DatabaseRefusedError(
            f"DATABASE_URL ({where}) leads to a pooler in transaction mode, where notifications (LISTEN), locks and "
            "settings of a session are lost; let the pooler use session mode (pgbouncer: pool_mode = session), or name "
            "the address of Postgres itself",
        )


async def _open(database_url: str) -> "asyncpg.Connection[asyncpg.Record]":
    # Without named statements, which a pooler in transaction mode loses: they would fail before it is recognised.
    return await connect(
        database_url,
        _NAME,
        timeout=_TIMEOUT_SECONDS,
        command_timeout=_TIMEOUT_SECONDS,
        statement_cache_size=0,
    )


async def _share_processes(
    first: "asyncpg.Connection[asyncpg.Record]",
    second: "asyncpg.Connection[asyncpg.Record]",
) -> bool:
    """Return whether one of two open connections was served by several processes, or both by the same."""
    of_first: set[int] = set()
    of_second: set[int] = set()
    try:
        for _ in range(_ROUNDS):
            # Not in one order: two processes that take turns would serve each connection by the same one every time.
            of_first.add(await _process_of(first))
            of_second.add(await _process_of(second))
            of_second.add(await _process_of(second))
            of_first.add(await _process_of(first))
    except asyncpg.PostgresError as error:
        if "statement pooling" in str(error):
            return True
        raise
    return len(of_first) > 1 or len(of_second) > 1 or bool(of_first & of_second)


async def _process_of(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    # In a transaction, since the driver needs two exchanges for an answer, of which each could meet another process.
    async with connection.transaction():
        process: int = await connection.fetchval("select pg_backend_pid()")
    return process
