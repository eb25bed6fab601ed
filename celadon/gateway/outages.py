"""What an attempt to use the table raises while Postgres is away, starting, or not migrated yet."""

from typing import Final

from asyncpg import InterfaceError, PostgresError
from sqlalchemy.exc import SQLAlchemyError

TABLE_OUTAGES: Final = (OSError, TimeoutError, SQLAlchemyError, PostgresError, InterfaceError)
"""The gateway waits and tries again for as long as these last; routers go on with what they have."""
