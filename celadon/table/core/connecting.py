"""How every connection to Postgres is made: all options of ``DATABASE_URL`` hold for each of them."""

import time
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg
from sqlalchemy import URL, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection

_FILES_AND_TLS: Final = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "passfile",
    "service",
    "options",
)
"""What libpq knows of an address, and asyncpg takes in a DSN only: SQLAlchemy would pass it where it is unknown."""

ASKED_AFTER_SECONDS: Final = 1.0
_USED_AT: Final = "used_at"

_SQLALCHEMY_ONLY: Final = ("prepared_statement_cache_size", "prepared_statement_name_func")


def open_engine(
    database_url: str,
    application_name: str,
    *,
    pool_size: int | None = None,
    timeout: float | None = None,
    settings: str = "",
    asked_after: float = ASKED_AFTER_SECONDS,
) -> AsyncEngine:
    """Prepare an engine; nothing is connected yet.

    Args:
        database_url: an SQLAlchemy URL of dialect ``postgresql+asyncpg``.
        application_name: how its connections are named in ``pg_stat_activity``.
        pool_size: connections at most, without overflow; without one each use connects anew.
        timeout: how many seconds a connection may take, and half of what a statement may before it is given up.
        settings: statements that each new connection begins with. Settings are made by them, since a pooler such as
            pgbouncer lets in only a few with the connection itself.
        asked_after: for how many seconds a connection is lent again without being asked whether it lives.

    """
    url, arguments = _divided(make_url(database_url))
    if timeout is not None:
        arguments |= {"timeout": timeout, "command_timeout": timeout * 2}
    arguments["server_settings"] = {"application_name": application_name, "timezone": "UTC"}
    if pool_size is None:
        engine = create_async_engine(url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    else:
        engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            connect_args=arguments,
            # An error is logged with its trace, and values may be somebody's secrets.
            hide_parameters=True,
        )
        _check_when_lent(engine, asked_after)
    if settings:

        @event.listens_for(engine.sync_engine, "connect")
        def make_settings(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
            connection.run_async(lambda driver: driver.execute(settings))

    return engine


def _check_when_lent(engine: AsyncEngine, asked_after: float) -> None:
    """Let the pool lend no connection that was lost; one that was idle for a while is asked whether it lives.

    Of a connection that was in use a moment ago the driver itself knows: asking would be one round trip a transaction.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def note_use(_: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info[_USED_AT] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def check(connection: DBAPIConnection, entry: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
        if connection.driver_connection.is_closed():
            raise DisconnectionError("the connection was lost while nobody used it")
        if time.monotonic() - entry.info.get(_USED_AT, 0.0) > asked_after:
            try:
                engine.dialect.do_ping(connection)
            except Exception as error:
                raise DisconnectionError("the connection does not answer") from error


async def connect(
    database_url: str,
    application_name: str,
    *,
    timeout: float,
    **options: Any,  # noqa: ANN401 - asyncpg's own
) -> "asyncpg.Connection[asyncpg.Record]":
    """Open one connection of the driver's, for what no pool serves: listening, and looking at the connection itself."""
    url, arguments = _divided(make_url(database_url))
    _, of_url = url.get_dialect()().create_connect_args(url)
    for name in _SQLALCHEMY_ONLY:
        of_url.pop(name, None)
    made: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        **of_url,
        **arguments,
        timeout=timeout,
        server_settings={"application_name": application_name},
        **options,
    )
    return made


def _divided(url: URL) -> tuple[URL, dict[str, Any]]:
    """Return an address as SQLAlchemy passes it on, and the driver's arguments for the rest."""
    rest = {name: url.query[name] for name in _FILES_AND_TLS if name in url.query}
    if not rest:
        return url, {}
    return url.difference_update_query(rest), {"dsn": f"postgresql://?{urlencode(rest, doseq=True)}"}
