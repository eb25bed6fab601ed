"""Turns at reading, so that no reader takes the table, the process or another caller's turn for itself.

Only reading takes turns: a decision never waits for one, and finds connections that no reader may hold.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from celadon.api.principal import Principal
from celadon.api.problems import DoorError

MOST_READS: Final = 4
"""Reads at the same time: below the connections of the pool, so that decisions always find one."""

MOST_READS_PER_CALLER: Final = 2

MOST_WAITING_PER_CALLER: Final = 100

_LONGEST_REST_SECONDS: Final = 1.0


def share_of(who: Principal) -> str:
    """Return the name under which a caller's reads and streams are counted."""
    return f"{who.scheme.value}:{who.name}"


class ReadTurns:
    """Gives turns: to callers one after another, and to each no more at a time than its share.

    A caller's place stays taken for as long again as its read took, so that who reads without a pause leaves half of
    the time to others.
    """

    def __init__(self, most: int = MOST_READS, most_per_caller: int = MOST_READS_PER_CALLER) -> None:
        """Give ``most`` turns at the same time, and each caller ``most_per_caller`` of them."""
        self._most = most
        self._most_per_caller = most_per_caller
        self._given = 0
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._pieces: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Wait for a turn of ``caller``, and hold it while the block runs.

        Raises:
            DoorError: too many reads of this caller wait already.

        """
        await self._wait(caller)
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        try:
            yield
        finally:
            self._given -= 1
            loop.call_later(min(loop.time() - began_at, _LONGEST_REST_SECONDS), self._rested, caller)
            self._give()

    async def piece(self) -> None:
        """Wait until another piece of an answer may be made: one in each round of the event loop.

        What is made of rows that were read takes the loop for itself; so others get their turn between two pieces.
        """
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._pieces.append(turn)
        if len(self._pieces) == 1:
            loop.call_soon(self._next_piece)
        await turn

    def _next_piece(self) -> None:
        turn = self._pieces.popleft()
        if not turn.done():
            turn.set_result(None)
        if self._pieces:
            asyncio.get_running_loop().call_soon(self._next_piece)

    async def _wait(self, caller: str) -> None:
        queue = self._waiting.setdefault(caller, deque())
        if len(queue) >= MOST_WAITING_PER_CALLER:
            raise DoorError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "TOO_MANY_READS",
                f"{len(queue)} reads of this caller wait for their turn",
                "ask again later, for one page after the other",
                retry_after=1,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._given -= 1
                self._rested(caller)
            else:
                self._forget(caller, turn)
            raise

    def _give(self) -> None:
        """Give free turns to waiting callers, each time to the one that was given one the longest ago."""
        for caller in list(self._waiting):
            if self._given >= self._most:
                return
            queue = self._waiting[caller]
            if self._taken[caller] >= self._most_per_caller:
                continue
            turn = queue.popleft()
            self._given += 1
            self._taken[caller] += 1
            if queue:
                self._waiting.move_to_end(caller)
            else:
                del self._waiting[caller]
            turn.set_result(None)

    def _rested(self, caller: str) -> None:
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]
        self._give()

    def _forget(self, caller: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(caller)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[caller]
