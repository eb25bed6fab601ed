"""What an attempt to use the table raises while Postgres is away, starting, or not migrated yet."""

from typing import Final

from asyncpg import InterfaceError, PostgresError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

TABLE_OUTAGES: Final = (OSError, TimeoutError, SQLAlchemyError, PostgresError, InterfaceError)
"""Whoever meets one waits and tries again; nothing is decided on it."""


def describe(error: Exception) -> str:
    """Return an outage in one line, without the statement that met it."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return next(iter(str(cause).splitlines()), "") or type(error).__name__
