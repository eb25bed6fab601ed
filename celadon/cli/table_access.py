"""Reading the table: faults of Postgres become a sentence that names where it was looked for."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.cli.faults import CommandError
from celadon.table.engine import Table

_MISSING: Final = frozenset({"42P01", "42703", "3F000"})
"""SQLSTATE of a table, a column or a schema that is not there."""

_OUR_FAULT: Final = "42"
"""The class of SQLSTATE of statements that are wrong."""

_NOT_ALLOWED: Final = "42501"

AnswerT = TypeVar("AnswerT")


async def read(table: Table, query: Callable[[AsyncSession], Awaitable[AnswerT]]) -> AnswerT:
    """Run a query in a transaction of its own.

    Raises:
        CommandError: Postgres is not there or lacks the tables; the text says where it was looked for.

    """
    with database_faults_told(table.database_url):
        async with table.transaction() as tx:
            return await query(tx)


def check_address(database_url: str) -> None:
    """Refuse what is no database's address.

    Raises:
        CommandError: it is none; the text says what one looks like.

    """
    example = "write postgresql+asyncpg://USER@HOST/DATABASE"
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise CommandError(f"DATABASE_URL is no database's address; {example}") from error
    if url.drivername != "postgresql+asyncpg":
        raise CommandError(f"DATABASE_URL begins with {url.drivername}://, which Celadon does not speak; {example}")


@contextmanager
def database_faults_told(database_url: str) -> Iterator[None]:
    """Turn what can go wrong with Postgres into a sentence; a wrong statement stays a bug.

    Raises:
        CommandError: something did.

    """
    try:
        yield
    except DBAPIError as error:
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if state in _MISSING:
            raise CommandError(
                f"the database {_where(database_url)} lacks tables of this version of Celadon; "
                "run 'celadon db upgrade'",
            ) from error
        if state.startswith(_OUR_FAULT) and state != _NOT_ALLOWED:
            raise
        raise _refused(database_url, error.orig or error) from error
    except (OSError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _refused(database_url, error) from error


def _refused(database_url: str, error: BaseException) -> CommandError:
    # SQLAlchemy writes the driver's class before the driver's message.
    told = str(error).strip().rpartition(">: ")[2] or type(error).__name__
    return CommandError(
        f"Postgres does not answer at {_where(database_url)}: {told.splitlines()[0]}; start it ('celadon up' starts a "
        "whole local stack), or correct DATABASE_URL",
    )


def _where(database_url: str) -> str:
    """Return where the database is, without its password."""
    return make_url(database_url).render_as_string(hide_password=True)
