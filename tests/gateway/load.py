"""Requests and streams that run while a test does something else."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.gateway.router import Router, until

CONNECTIONS = 8
PAUSE_SECONDS = 0.002


class Load:
    """Counts answers by colour, or by status where there was no 200."""

    def __init__(self) -> None:
        """Begin with nothing answered."""
        self.answers: Counter[str] = Counter()

    @property
    def failed(self) -> int:
        """Requests that were not answered by a replica."""
        return sum(number for answer, number in self.answers.items() if answer not in {"blue", "green"})

    async def more(self, count: int) -> None:
        """Wait for so many more answers."""
        before = self.answers.total()
        await until(lambda: self.answers.total() >= before + count)

    async def send(self, router: Router) -> None:
        """Send one request after the other, every other one a POST, until cancelled."""
        while True:
            for method in ("GET", "POST"):
                answer = await router.ask(method=method)
                self.answers[answer.json["colour"] if answer.status == 200 else str(answer.status)] += 1
                await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def under_load(router: Router) -> AsyncIterator[Load]:
    """Send requests until the block ends; raises what a request raised, for example a reset connection."""
    load = Load()
    async with asyncio.TaskGroup() as group:
        senders = [group.create_task(load.send(router)) for _ in range(CONNECTIONS)]
        yield load
        for sender in senders:
            sender.cancel()
