"""The statements that SQLAlchemy sends, noted with their parameters so that plain asyncpg can send them again."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy import Connection, Engine, event

Driver: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
"""A connection of its own, or one that a pool has lent."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as the driver gets it."""

    text: str
    parameters: tuple[Any, ...]
    """Of one execution; of several executions at once, one tuple each."""
    is_many: bool = False

    async def send(self, connection: Driver) -> list[asyncpg.Record]:
        """Send it as SQLAlchemy does, in one round trip once it is prepared; return its rows."""
        if self.is_many:
            await connection.executemany(self.text, self.parameters)
            return []
        return await connection.fetch(self.text, *self.parameters)


@dataclass(frozen=True, slots=True)
class Transaction:
    """Statements that were sent over one connection, one after the other."""

    statements: tuple[Statement, ...]
    is_atomic: bool
    """Whether they stood between a begin and a commit; else each stands alone."""

    @asynccontextmanager
    async def opened(self, connection: Driver) -> AsyncIterator[None]:
        """Begin and commit it, if it was begun."""
        if not self.is_atomic:
            yield
            return
        async with connection.transaction():
            yield


class Recorder:
    """Notes the transactions of this process that are committed while it is started."""

    def __init__(self) -> None:
        self._open: WeakKeyDictionary[Connection, list[Statement]] = WeakKeyDictionary()
        self._committed: list[Transaction] = []
        self._hooks: Final = (
            ("before_cursor_execute", self._note),
            ("commit", self._commit),
            ("rollback", self._roll_back),
        )

    def start(self) -> None:
        """Begin to note."""
        for name, hook in self._hooks:
            event.listen(Engine, name, hook)

    def stop(self) -> list[Transaction]:
        """End it; return the committed transactions in the order of their commits."""
        for name, hook in self._hooks:
            event.remove(Engine, name, hook)
        committed, self._committed = self._committed, []
        return committed

    def _note(
        self,
        connection: Connection,
        _cursor: object,
        text: str,
        parameters: Any,  # noqa: ANN401 - as above
        _context: object,
        is_many: bool,  # noqa: FBT001 - as above
    ) -> None:
        self._open.setdefault(connection, []).append(Statement(text, tuple(parameters), is_many))

    def _commit(self, connection: Connection) -> None:
        self._end(connection, is_atomic=True)

    def _roll_back(self, connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            # There is nothing to roll back: each statement was carried out by itself.
            self._end(connection, is_atomic=False)
        else:
            self._open.pop(connection, None)

    def _end(self, connection: Connection, *, is_atomic: bool) -> None:
        if statements := self._open.pop(connection, None):
            self._committed.append(Transaction(tuple(statements), is_atomic))


@contextmanager
def noted_statements() -> Iterator[list[Statement]]:
    """Note each statement that is sent meanwhile, whether or not its transaction is committed."""
    sent: list[Statement] = []

    def note(
        _connection: object,
        _cursor: object,
        text: str,
        parameters: Any,  # noqa: ANN401 - SQLAlchemy's own
        *_: object,
    ) -> None:
        sent.append(Statement(text, tuple(parameters)))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)
