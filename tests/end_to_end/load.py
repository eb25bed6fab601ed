"""An open-loop load with streams on one deployment, every request of which is accounted for."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

from celadon.stack.demo.generator import LoadCounts, LoadGenerator, LoadOptions
from celadon.stack.demo.records import RequestKind, RequestRecord, RequestResult, read_records
from tests.end_to_end.conftest import LiveDeployment, until

REQUESTS_PER_SECOND = 40.0
STREAMS = 4
STREAM_DURATION = timedelta(seconds=4)
TOKEN_INTERVAL = timedelta(milliseconds=50)
ANSWER_TIMEOUT = timedelta(seconds=60)
FINISH_TIMEOUT = timedelta(seconds=60)


@dataclass
class Load:
    """A running load and, after its end, its records."""

    generator: LoadGenerator
    path: Path

    @property
    def counts(self) -> LoadCounts:
        """What was done so far."""
        return self.generator.counts()

    async def flows(self, answers: int = 40) -> None:
        """Wait until so many more requests were answered and streams are open."""
        before = sum(self.counts.answered_by.values())

        async def done() -> bool:
            counts = self.counts
            return sum(counts.answered_by.values()) >= before + answers and counts.open_streams >= STREAMS

        await until(done, "requests are answered")

    def records(self) -> list[RequestRecord]:
        """Return all requests, once the load has ended."""
        return list(read_records(self.path))

    def lost(self) -> Counter[str]:
        """Return what became of requests that were neither answered in full nor told that there is no such address.

        A 404 without any answer of a replica is the answer of a deployment that was deleted.
        """
        return Counter(
            f"{record.kind.value} {record.result.value}: {record.error}"
            for record in self.records()
            if record.result is not RequestResult.ANSWERED and record.status != HTTPStatus.NOT_FOUND
        )

    def not_found(self) -> list[RequestRecord]:
        """Return the requests that found no route."""
        return [record for record in self.records() if record.status == HTTPStatus.NOT_FOUND]

    def streams(self) -> list[RequestRecord]:
        """Return the streams that were answered to their end."""
        return [
            record
            for record in self.records()
            if record.kind is RequestKind.STREAM and record.result is RequestResult.ANSWERED
        ]


@asynccontextmanager
async def load_on(deployment: LiveDeployment, directory: Path) -> AsyncIterator[Load]:
    """Send requests and streams until the block ends, then wait for those that run."""
    path = directory / f"{deployment.name}.jsonl"
    with path.open("w", encoding="utf-8") as lines:
        generator = LoadGenerator(
            LoadOptions(
                base_url=f"{deployment.addresses.router}/{deployment.name}/v1",
                requests_per_second=REQUESTS_PER_SECOND,
                streams=STREAMS,
                stream_duration=STREAM_DURATION,
                token_interval=TOKEN_INTERVAL,
                answer_timeout=ANSWER_TIMEOUT,
                seed=1,
            ),
            lines,
        )
        try:
            yield Load(generator, path)
        finally:
            await generator.finish(FINISH_TIMEOUT)
