"""What replicas work on, by the number of each request; a test can hold a request in the middle."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from tests.gateway.router import until


class Ledger:
    """Shared by the clients and the replicas of a test, which run in one process."""

    def __init__(self) -> None:
        """Begin with no request."""
        self.arrivals: defaultdict[str, list[str]] = defaultdict(list)
        """The colours that a request has reached, one for each time that it has."""
        self.finished: Counter[str] = Counter()
        """How often a replica has worked on a request to its end."""
        self.broken: Counter[str] = Counter()
        """How often a replica has noticed that a request ended before its time."""
        self._halves: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._held: dict[str, asyncio.Event] = {}

    @contextmanager
    def work(self, number: str, colour: str) -> Iterator[None]:
        """Note a request while a replica works on it."""
        self.arrivals[number].append(colour)
        try:
            yield
        except BaseException:
            self.broken[number] += 1
            raise
        self.finished[number] += 1

    def hold(self, number: str) -> None:
        """Let a request stop in the middle, until it is released."""
        self._held[number] = asyncio.Event()

    def release(self, number: str) -> None:
        """Let a request go on to its end."""
        self._held[number].set()

    def reach_half(self, number: str) -> None:
        """Note, on a replica, that it has come to the middle of a request."""
        self._halves[number].set()

    async def is_half_done(self, number: str) -> None:
        """Wait until a request has come to its middle."""
        await until(self._halves[number].is_set)

    async def may_go_on(self, number: str) -> None:
        """Wait while a request is held."""
        if number in self._held:
            await self._held[number].wait()

    def assert_each_once(self) -> None:
        """Raise unless each request reached one replica, once, and was worked on to its end."""
        assert {number: colours for number, colours in self.arrivals.items() if len(colours) != 1} == {}
        assert (self.finished, self.broken) == (Counter(dict.fromkeys(self.arrivals, 1)), Counter())
