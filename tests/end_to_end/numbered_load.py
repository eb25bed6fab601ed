"""An open-loop load of numbered POSTs, each sent when it is due and never tried again by the client."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from tests.end_to_end.ledger_server import NUMBER_HEADER, WORK_HEADER

LONGEST_SECONDS = 400.0


@dataclass(frozen=True)
class Sent:
    """One request and what became of it."""

    number: int
    url: str
    at: float
    """When it was sent, in seconds of the monotonic clock, which all processes of a machine share."""
    answer: str
    """The label of the revision that answered, or what went wrong."""
    failed: bool


class NumberedLoad:
    """Sends requests to some routers in turn, and keeps what became of each."""

    def __init__(self, urls: Sequence[str], *, per_second: float, work_seconds: float) -> None:
        """Prepare; nothing is sent yet."""
        self._urls = itertools.cycle(urls)
        self.interval = 1 / per_second
        self._work = str(work_seconds)
        self.sent: list[Sent] = []

    @property
    def failed(self) -> list[Sent]:
        """The requests that no replica answered to the end."""
        return [one for one in self.sent if one.failed]

    @property
    def answers(self) -> Counter[str]:
        """How often each revision answered."""
        return Counter(one.answer for one in self.sent if not one.failed)

    def answered_since(self, moment: float) -> int:
        """Count the answers to requests that were sent since a moment."""
        return sum(not one.failed and one.at >= moment for one in self.sent)

    async def send(self, session: aiohttp.ClientSession, number: int) -> None:
        """Send one request and keep what became of it; raises nothing that it met."""
        url, at = next(self._urls), time.monotonic()
        headers = {NUMBER_HEADER: str(number), WORK_HEADER: self._work}
        try:
            async with session.post(url, headers=headers, data=b"{}") as answer:
                text = await answer.text()
                told = text if answer.status == 200 else f"{answer.status}: {text}"
                self.sent.append(Sent(number, url, at, told, failed=answer.status != 200))
        except (aiohttp.ClientError, TimeoutError) as error:
            self.sent.append(Sent(number, url, at, repr(error), failed=True))


@asynccontextmanager
async def under_numbered_load(
    urls: Sequence[str],
    *,
    per_second: float = 200.0,
    work_seconds: float = 0.1,
) -> AsyncIterator[NumberedLoad]:
    """Send requests until the block ends, and let those that run end; no longer than a test may last."""
    load = NumberedLoad(urls, per_second=per_second, work_seconds=work_seconds)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=LONGEST_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        numbers = itertools.count(1)
        stop = asyncio.Event()

        async def send_until_stopped() -> None:
            began = time.monotonic()
            async with asyncio.TaskGroup() as running:
                for position in itertools.count():
                    await asyncio.sleep(began + position * load.interval - time.monotonic())
                    if stop.is_set() or time.monotonic() - began > LONGEST_SECONDS:
                        return
                    running.create_task(load.send(session, next(numbers)))

        sending = asyncio.create_task(send_until_stopped())
        try:
            yield load
        finally:
            stop.set()
            await sending
