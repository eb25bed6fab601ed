"""Requests at a steady rate, however long their answers take, each of which is accounted for."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final, TypeAlias

import aiohttp
import grpc.aio
from openai import OpenAIError

Ask: TypeAlias = Callable[[], Awaitable[str]]
"""Sends one request and returns the revision that answered; raises what went wrong."""

INTERVAL_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 120.0
"""How long a request waits for its answer before it counts as lost."""


@dataclass(frozen=True, slots=True)
class Record:
    """One request that has ended."""

    kind: str
    seconds: float
    revision: str
    """Which one answered; empty when the request was lost."""
    error: str


@dataclass
class SteadyLoad:
    """Sends requests of some kinds until it is told to end."""

    asks: dict[str, Ask]
    sent: int = 0
    records: list[Record] = field(default_factory=list)
    _ends: bool = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SteadyLoad"]:
        """Send requests until the block ends; then wait for the answers that are still to come."""
        async with asyncio.TaskGroup() as group:
            for kind, ask in self.asks.items():
                group.create_task(self._send(kind, ask, group))
            try:
                yield self
            finally:
                self._ends = True

    def answered(self, kind: str, revision: str) -> int:
        """Count the requests of a kind that a revision has answered."""
        return sum(record.kind == kind and record.revision == revision for record in self.records)

    def revisions(self, kind: str) -> set[str]:
        """Return the revisions that have answered requests of a kind."""
        return {record.revision for record in self.records if record.kind == kind}

    def ordinary(self, kind: str) -> float:
        """Return how long the requests of a kind take as a rule (their median), in seconds."""
        return median(record.seconds for record in self.records if record.kind == kind)

    def hung(self, seconds: float) -> list[Record]:
        """Return the requests that took so many seconds longer than those of their kind do as a rule."""
        return [record for record in self.records if record.seconds > self.ordinary(record.kind) + seconds]

    def lost(self) -> list[Record]:
        """Return the requests that were not answered."""
        return [record for record in self.records if not record.revision]

    def summary(self) -> str:
        """Return the figures of the load in words."""
        return "; ".join(
            f"{kind}: r1 answered {self.answered(kind, 'r1')}, r2 {self.answered(kind, 'r2')}, "
            f"median {1000 * self.ordinary(kind):.0f} ms, slowest {1000 * self._slowest(kind):.0f} ms"
            for kind in self.asks
        )

    def _slowest(self, kind: str) -> float:
        return max(record.seconds for record in self.records if record.kind == kind)

    async def _send(self, kind: str, ask: Ask, group: asyncio.TaskGroup) -> None:
        while not self._ends:
            self.sent += 1
            group.create_task(self._request(kind, ask))
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _request(self, kind: str, ask: Ask) -> None:
        begun = time.monotonic()
        revision = error = ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                revision = await ask()
        except (aiohttp.ClientError, grpc.aio.AioRpcError, OpenAIError, TimeoutError, LookupError, ValueError) as fault:
            error = f"{type(fault).__name__}: {fault}"
        self.records.append(Record(kind, time.monotonic() - begun, revision, error))
