"""What the errors of Postgres mean: which heal by waiting, which a migration heals, and which are faults.

:meth:`celadon.table.core.engine.Table.transaction` raises :class:`TableAwayError` for the first kind and
:class:`NotMigratedError` for the second; every other error is raised as it is, and nobody may take it for an outage.
"""

import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

UPGRADE: Final = "run 'celadon db upgrade'"
"""The way out of a missing migration."""


class DatabaseTrouble(Enum):
    """What can be done about an error of the database."""

    OUTAGE = auto()
    """Try again later: the connection, the server or a lock was not to be had."""
    NOT_MIGRATED = auto()
    """Migrate the database: it lacks what this version of Celadon uses."""
    FAULT = auto()
    """Nothing that waiting changes: the statement, its values, an account or a setting is wrong."""


class TableAwayError(Exception):
    """The table cannot be used at the moment; the same attempt may succeed later. Its cause is the driver's error."""


class NotMigratedError(Exception):
    """The database lacks a table, a column or another object of this version; the text says what to do."""


TABLE_OUTAGES: Final = (TableAwayError, TimeoutError)
"""Whoever meets one waits and tries again; nothing is decided on it. ``TimeoutError`` is the caller's own patience."""

_NOT_MIGRATED: Final = frozenset({"42P01", "42703", "3F000", "42883", "42704"})
"""A table, a column, a schema, a function or a type is not there."""

_OUTAGE_CLASSES: Final = ("08", "40", "53")
"""Connection exceptions, transactions that were rolled back for others' sake, and resources that ran out."""

_OUTAGE_STATES: Final = frozenset(
    {
        "25006",  # the server became a standby
        "25P03",  # idle in a transaction for too long: the process stood still
        "25P04",  # the transaction took too long
        "55P03",  # a lock was not to be had in time
        "57014",  # the statement took too long, or somebody cancelled it
        "57P01",  # an administrator ended the connection, or the server
        "57P02",  # the server crashed
        "57P03",  # the server starts, stops or recovers
        "57P05",  # the connection was idle for too long
    },
)

_FAULT_STATES: Final = frozenset({"40002"})
"""A constraint was violated at the commit, which is no rollback for others' sake."""

_REFUSES_ALL: Final = ("0A", "28", "3D", "42", "55", "57", "58", "F0", "XX")
"""Classes of errors that no other record would escape: rights, syntax, operators, the system, the configuration."""

_NETWORK_ERRORS: Final = frozenset(
    {
        errno.ENOENT,  # of a Unix socket: no server listens there
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENOTCONN,
        errno.EMFILE,
        errno.ENFILE,
        errno.EAGAIN,
    },
)


def trouble_of(error: BaseException) -> DatabaseTrouble:
    """Return what can be done about an error that an attempt to use the table has raised."""
    if isinstance(error, TableAwayError):
        return DatabaseTrouble.OUTAGE
    if isinstance(error, NotMigratedError):
        return DatabaseTrouble.NOT_MIGRATED
    driver_error = _driver_error(error)
    state = str(getattr(driver_error, "sqlstate", None) or "")
    if state in _NOT_MIGRATED:
        return DatabaseTrouble.NOT_MIGRATED
    if state not in _FAULT_STATES and (state in _OUTAGE_STATES or state.startswith(_OUTAGE_CLASSES)):
        return DatabaseTrouble.OUTAGE
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return DatabaseTrouble.OUTAGE
    return DatabaseTrouble.OUTAGE if _is_lost_connection(driver_error) else DatabaseTrouble.FAULT


def blames_record(error: BaseException) -> bool:
    """Return whether an error is of what was written, so that other records are not refused for the same reason.

    A missing right, a wrong statement or a broken server refuses all of them, until somebody puts that right.
    """
    if trouble_of(error) is not DatabaseTrouble.FAULT:
        return False
    state = str(getattr(_driver_error(error), "sqlstate", None) or "")
    return not state.startswith(_REFUSES_ALL)


def address_refusal(error: BaseException) -> str | None:
    """Return what is wrong with the address of the database, its account or its certificates; ``None`` for else."""
    driver_error = _driver_error(error)
    state = str(getattr(driver_error, "sqlstate", None) or "")
    match driver_error:
        case asyncpg.PostgresError() if state.startswith("28"):
            return f"{describe(error)}; correct the user or the password in DATABASE_URL, or the server's pg_hba.conf"
        case asyncpg.PostgresError() if state == "3D000":
            return f"{describe(error)}; create the database, or correct DATABASE_URL"
        case asyncpg.PostgresError() if state == "42501":
            return f"{describe(error)}; grant the user of DATABASE_URL the database's tables, or name their owner"
        case ssl.SSLError() | asyncpg.ClientConfigurationError() | PermissionError():
            return f"{describe(error)}; correct DATABASE_URL, or the files that it names"
        case _:
            return None


def describe(error: BaseException) -> str:
    """Return an error of the database in one line, without the statement that met it."""
    if isinstance(error, TableAwayError | NotMigratedError):
        return str(error)
    driver_error = _driver_error(error)
    # SQLAlchemy writes the driver's class before the driver's message.
    message = str(driver_error).strip().rpartition(">: ")[2]
    return next(iter(message.splitlines()), "") or type(driver_error).__name__


@contextmanager
def database_trouble_named() -> Iterator[None]:
    """Raise what the block raises, outages and missing migrations by their own names.

    Raises:
        TableAwayError: the table cannot be used at the moment.
        NotMigratedError: the database lacks what this version uses.

    """
    try:
        yield
    except (TableAwayError, NotMigratedError):
        raise
    except Exception as error:
        match trouble_of(error):
            case DatabaseTrouble.OUTAGE:
                raise TableAwayError(describe(error)) from error
            case DatabaseTrouble.NOT_MIGRATED:
                raise NotMigratedError(
                    f"the database lacks what this version of Celadon uses: {describe(error)}; {UPGRADE} of this "
                    "version, or start the version that has migrated it",
                ) from error
            case DatabaseTrouble.FAULT:
                raise


def _driver_error(error: BaseException) -> BaseException:
    """Return the driver's own error; SQLAlchemy wraps it, and so does its adapter of asyncpg."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return error
    cause = error.orig.__cause__
    return error.orig if cause is None else cause


def _is_lost_connection(error: BaseException) -> bool:
    match error:
        case asyncpg.InterfaceError():
            # Also what was used wrongly raises this class, such as a value of the wrong type.
            return "closed" in str(error)
        case asyncpg.TargetServerAttributeNotMatched():
            return True
        case PoolTimeoutError() | TimeoutError() | ConnectionError() | socket.gaierror():
            return True
        case OSError():
            return error.errno in _NETWORK_ERRORS
        case _:
            return False
