"""Reading the table: faults of Postgres become a sentence that names where it was looked for."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.cli.faults import CommandError, OutageError
from celadon.table.core.engine import Table
from celadon.table.core.outages import (
    UPGRADE,
    NotMigratedError,
    TableAwayError,
    address_refusal,
    database_trouble_named,
    describe,
)

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
        with database_trouble_named():
            yield
    except NotMigratedError as error:
        raise CommandError(
            f"the database {_where(database_url)} lacks tables or columns of this version of Celadon "
            f"({describe(error.__cause__ or error)}); {UPGRADE}",
        ) from error
    except TableAwayError as error:
        raise OutageError(
            f"Postgres does not answer at {_where(database_url)}: {error}; start it ('celadon up' starts a whole local "
            "stack), or correct DATABASE_URL",
        ) from error
    except Exception as error:
        refusal = address_refusal(error)
        if refusal is None:
            raise
        raise CommandError(f"Postgres lets nobody in by {_where(database_url)}: {refusal}") from error


def _where(database_url: str) -> str:
    """Return where the database is, without its password."""
    return make_url(database_url).render_as_string(hide_password=True)
