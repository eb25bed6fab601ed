"""What an attempt to use the table raises while Postgres is away, starting, or not migrated yet."""

from typing import Final

from asyncpg import InterfaceError, PostgresError
from sqlalchemy.exc import SQLAlchemyError

TABLE_OUTAGES: Final = (OSError, TimeoutError, SQLAlchemyError, PostgresError, InterfaceError)
"""Whoever meets one waits and tries again; nothing is decided on it."""
