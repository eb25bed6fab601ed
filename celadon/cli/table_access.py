"""Reading the table: faults of Postgres become a sentence that names where it was looked for."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import asyncpg
from alembic.util import CommandError as MigrationError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.cli.faults import CommandError
from celadon.table.engine import Table

_MISSING: Final = frozenset({"42P01", "42703", "3F000"})
"""SQLSTATE of a table, a column or a schema that is not there."""

AnswerT = TypeVar("AnswerT")


async def read(table: Table, query: Callable[[AsyncSession], Awaitable[AnswerT]]) -> AnswerT:
    """Run a query in a transaction of its own.

    Raises:
        CommandError: Postgres is not there or lacks the tables; the text says where it was looked for.

    """
    with database_faults_told(table.database_url):
        async with table.transaction() as tx:
            return await query(tx)


@contextmanager
def database_faults_told(database_url: str) -> Iterator[None]:
    """Turn what can go wrong with Postgres into a sentence.

    Raises:
        CommandError: something did.

    """
    try:
        yield
    except ArgumentError as error:
        raise CommandError(
            f"DATABASE_URL is no database's address ({error}); write postgresql+asyncpg://USER@HOST/DATABASE",
        ) from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _MISSING:
            raise CommandError(
                f"the database {_where(database_url)} lacks tables of this version of Celadon; run 'celadon db upgrade'",
            ) from error
        raise _refused(database_url, error.orig or error) from error
    except MigrationError as error:
        raise CommandError(
            f"the database {_where(database_url)} cannot be upgraded: {error}; was it upgraded by a newer Celadon?",
        ) from error
    except (OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _refused(database_url, error) from error


def _refused(database_url: str, error: BaseException) -> CommandError:
    told = (str(error).strip() or type(error).__name__).splitlines()[0].partition(">: ")[2] or str(error).strip()
    return CommandError(
        f"Postgres does not answer at {_where(database_url)}: {told.splitlines()[0] if told else type(error).__name__}; "
        "start it ('celadon up' starts a whole local stack), or correct DATABASE_URL",
    )


def _where(database_url: str) -> str:
    """Return where the database is, without its password."""
    return make_url(database_url).render_as_string(hide_password=True)
