"""How long a command waits for what it has begun."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final, TypeVar

from celadon.cli.faults import CommandError, is_outage
from celadon.cli.log_lines import log_warning
from celadon.domain.language.durations import format_duration

AnswerT = TypeVar("AnswerT")

POLL_EVERY: Final = timedelta(seconds=0.5)


class StoppedWaitingError(Exception):
    """A person has stopped a command that waits; the text says what goes on without it."""


class Patience:
    """A person's patience, from now on; what a command does itself is never cut, only its waiting."""

    def __init__(self, timeout: timedelta | None) -> None:
        """Last for ``timeout``; for ever without one."""
        self._timeout = timeout
        self._ends = None if timeout is None else time.monotonic() + timeout.total_seconds()

    @asynccontextmanager
    async def waiting(self, what: str, instead: str) -> AsyncIterator[None]:
        """Bound a block that waits.

        Args:
            what: what has not happened when patience ends, as a clause: ``rollout 7 of chat has not ended``.
            instead: what becomes of it, and how a person learns it.

        Raises:
            CommandError: patience has ended.
            StoppedWaitingError: the person waits no longer.

        """
        left = None if self._ends is None else self._ends - time.monotonic()
        try:
            async with asyncio.timeout(left):
                yield
        except TimeoutError as error:
            if self._timeout is None:
                raise
            raise CommandError(f"{what} within {format_duration(self._timeout)}; {instead}") from error
        except asyncio.CancelledError as error:
            # Nobody but Ctrl-C cancels what a command does.
            raise StoppedWaitingError(f"{what}; {instead}") from error


async def outlasting(read: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
    """Read something that is waited for, however long Celadon is away meanwhile; it is said once."""
    said = False
    while True:
        try:
            return await read()
        except CommandError as error:
            if not is_outage(error):
                raise
            if not said:
                log_warning("celadon_lost", error=str(error))
            said = True
        await a_moment()


async def a_moment() -> None:
    """Wait until it is worth looking again."""
    await asyncio.sleep(POLL_EVERY.total_seconds())
