"""Turns at reading, so that no reader takes the table, the process or another caller's turn for itself.

Only reading takes turns: a decision never waits for one, and finds connections that no reader may hold.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final, TypeAlias

from celadon.api.problems import HttpRefusal
from celadon.service.principal import Principal

MOST_READS: Final = 4
"""Reads at the same time: below the connections of the pool, so that decisions always find one."""

MOST_READS_PER_CALLER: Final = 1
"""Reads of one caller at the same time; its others wait."""

MOST_WAITING_PER_CALLER: Final = 100

READ_REST: Final = 2.0
"""How long a caller rests after each read, by how long that took."""

PIECE_REST: Final = 2.0
"""How long no other piece of an answer is made after each, by how long that took."""

_LONGEST_REST_SECONDS: Final = 1.0

_Queues: TypeAlias = "OrderedDict[str, deque[asyncio.Future[None]]]"


def share_of(who: Principal) -> str:
    """Return the name under which a caller's reads and streams are counted."""
    return " ".join(who.identity)


class ReadTurns:
    """Gives turns: to callers one after another, and to each no more at a time than its share.

    A caller's place stays taken for some time after each read, by how long that took: who reads without a pause leaves
    most of the time to others.
    """

    def __init__(self, most: int = MOST_READS, most_per_caller: int = MOST_READS_PER_CALLER) -> None:
        """Give ``most`` turns at the same time, and each caller ``most_per_caller`` of them."""
        self._most = most
        self._most_per_caller = most_per_caller
        self._given = 0
        self._taken: Counter[str] = Counter()
        self._waiting: _Queues = OrderedDict()

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Wait for a turn of ``caller``, and hold it while the block runs.

        Raises:
            HttpRefusal: too many reads of this caller wait already.

        """
        await self._wait(caller)
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        try:
            yield
        finally:
            self._given -= 1
            loop.call_later(min(READ_REST * (loop.time() - began_at), _LONGEST_REST_SECONDS), self._rested, caller)
            self._give()

    async def _wait(self, caller: str) -> None:
        if len(self._waiting.get(caller, ())) >= MOST_WAITING_PER_CALLER:
            raise HttpRefusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                "TOO_MANY_READS",
                f"{MOST_WAITING_PER_CALLER} reads of this caller wait for their turn",
                "ask again later, for one page after the other",
                retry_after=1,
            )
        turn = _queue(self._waiting, caller)
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._given -= 1
                self._rested(caller)
            raise

    def _give(self) -> None:
        """Give free turns to waiting callers, each time to the one that was given one the longest ago."""
        for caller in list(self._waiting):
            while self._given < self._most and self._taken[caller] < self._most_per_caller:
                turn = _next_of(self._waiting, caller)
                if turn is None:
                    break
                self._given += 1
                self._taken[caller] += 1
                turn.set_result(None)

    def _rested(self, caller: str) -> None:
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]
        self._give()


class AnswerPieces:
    """Lets large answers be made piece by piece: one at a time, callers in turn, with a rest after each.

    What is made of rows that were read takes the event loop for itself; between two pieces others get it.
    """

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._waiting: _Queues = OrderedDict()
        self._is_making = False

    async def piece(self, caller: str) -> None:
        """Wait until a piece of an answer to ``caller`` may be made: at once, before anything else is awaited."""
        turn = _queue(self._waiting, caller)
        if not self._is_making:
            self._give()
        await turn

    def _give(self) -> None:
        self._is_making = False
        for caller in list(self._waiting):
            turn = _next_of(self._waiting, caller)
            if turn is not None:
                self._is_making = True
                loop = asyncio.get_running_loop()
                turn.set_result(None)
                # Called after whoever waits was woken, and has made its piece.
                loop.call_soon(self._made, loop.time())
                return

    def _made(self, began_at: float) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(PIECE_REST * (loop.time() - began_at), self._give)


def _queue(queues: _Queues, caller: str) -> asyncio.Future[None]:
    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    queues.setdefault(caller, deque()).append(turn)
    return turn


def _next_of(queues: _Queues, caller: str) -> asyncio.Future[None] | None:
    """Take the next of a caller's futures that is still waited for, and put the caller behind the others."""
    queue = queues.get(caller, deque())
    while queue:
        turn = queue.popleft()
        if not turn.done():
            queues.move_to_end(caller)
            if not queue:
                del queues[caller]
            return turn
    queues.pop(caller, None)
    return None
