"""The connection to Postgres: one engine a process, short transactions, timeouts below those of activities."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from celadon.table.core.connecting import ASKED_AFTER_SECONDS, open_engine
from celadon.table.core.outages import database_trouble_named

STATEMENT_TIMEOUT_SECONDS: Final = 5.0
"""Below the start-to-close timeout of a table transaction (10 s), so that no attempt outlives its activity."""

_PATIENCE_OF_A_TRANSACTION: Final = 2
"""How many times a statement's patience a whole transaction has: as long as its activity waits for it."""


class Table:
    """Celadon's tables behind one connection pool."""

    def __init__(
        self,
        database_url: str,
        application_name: str,
        *,
        pool_size: int = 10,
        patience_seconds: float = STATEMENT_TIMEOUT_SECONDS,
        asked_after_seconds: float = ASKED_AFTER_SECONDS,
    ) -> None:
        """Prepare a pool; nothing is connected yet.

        Args:
            database_url: an SQLAlchemy URL of dialect ``postgresql+asyncpg``.
            application_name: how this process is named in ``pg_stat_activity``.
            pool_size: connections at most, without overflow.
            patience_seconds: how long a connection, a statement, or a pause inside of a transaction may take.
            asked_after_seconds: a connection that nobody has used for so long is asked whether it lives.

        """
        self.database_url = database_url
        self._engine = open_engine(
            database_url,
            application_name,
            pool_size=pool_size,
            timeout=patience_seconds,
            settings=_limits(patience_seconds),
            asked_after=asked_after_seconds,
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False, autoflush=False)
        alone = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._readers = async_sessionmaker(alone, expire_on_commit=False, autoflush=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open one transaction: committed when the block ends, rolled back when it raises.

        Raises:
            TableAwayError: the table cannot be used at the moment; whether a commit succeeded may not be known.
            NotMigratedError: the database lacks what this version uses.

        """
        with database_trouble_named():
            async with self._sessions() as session, session.begin():
                yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a session for reading: each statement sees what is committed when it begins, as in a transaction.

        A transaction would cost two more round trips and give a reader nothing, for its statements see no less. What
        is written here would be committed statement by statement, and locks would be gone at once: only read.

        Raises:
            TableAwayError: the table cannot be used at the moment.
            NotMigratedError: the database lacks what this version uses.

        """
        with database_trouble_named():
            async with self._readers() as session:
                yield session

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self.close()


def _limits(patience_seconds: float) -> str:
    """Return statements that bound what a connection may hold of others.

    A process that is frozen between a statement's parsing and its execution is neither idle nor at work for Postgres:
    only ``transaction_timeout`` (Postgres 17 and later) ends that transaction, and frees the locks that it holds.
    """
    patience = round(patience_seconds * 1000)
    whole = patience * _PATIENCE_OF_A_TRANSACTION
    return (
        f"set statement_timeout = {patience}; "  # noqa: S608 - numbers alone
        f"set idle_in_transaction_session_timeout = {patience}; "
        f"select set_config(name, '{whole}', false) from pg_settings where name = 'transaction_timeout'"
    )
