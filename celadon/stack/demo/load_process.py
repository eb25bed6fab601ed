"""The load's process as the demonstration sees it: started, told what to do, asked for its counts."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from celadon.stack.demo.generator import LoadCounts, LoadOptions
from celadon.stack.demo.load import Command

END_TIMEOUT: Final = timedelta(seconds=5)
"""How long the process may take to end once its standard input is closed."""


class LoadFailedError(Exception):
    """The load's process ended by itself; nothing can be said of its requests."""


class LoadProcess:
    """A running load; ``running_load`` starts one."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        """Take over a process whose standard input and output are pipes and whose errors go to ``log``."""
        self._process = process
        self._log = log
        self._counts: LoadCounts | None = None
        self._reading = asyncio.create_task(self._read_counts())

    @property
    def counts(self) -> LoadCounts | None:
        """The latest counts, none before the first. Raises ``LoadFailedError`` when the process has died."""
        self._check()
        return self._counts

    async def stop_streams(self) -> None:
        """Begin no new stream. Raises ``LoadFailedError`` when the process has died."""
        await self._tell(Command.STOP_STREAMS)

    async def stop(self) -> LoadCounts:
        """Stop, wait until every request has ended and is on disk, and return the final counts.

        Raises ``LoadFailedError`` when the process dies before.
        """
        await self._tell(Command.STOP)
        await self._reading
        self._check()
        if self._counts is None:
            raise self._failure()
        return self._counts

    async def close(self) -> None:
        """Make sure that the process has ended; what still runs is cut."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(END_TIMEOUT.total_seconds()):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def _tell(self, command: Command) -> None:
        if self._process.stdin is not None and not self._reading.done():
            try:
                self._process.stdin.write(f"{command}\n".encode())
                await self._process.stdin.drain()
            except ConnectionError:
                # It has just ended; its last counts say whether well.
                await self._reading
        self._check()

    async def _read_counts(self) -> None:
        if self._process.stdout is None:
            return
        async for line in self._process.stdout:
            self._counts = LoadCounts.model_validate_json(line)

    def _check(self) -> None:
        finished = self._counts is not None and self._counts.finished
        if self._reading.done() and not finished:
            raise self._failure()

    def _failure(self) -> LoadFailedError:
        return LoadFailedError(
            f"the load generator (process {self._process.pid}) ended by itself; its last words are in {self._log}",
        )


@asynccontextmanager
async def running_load(
    options: LoadOptions, records: Path, log: Path, longest: timedelta
) -> AsyncIterator[LoadProcess]:
    """Run a load that sends until stopped, at most ``longest``; on leaving, its process is gone."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "celadon.stack.demo.load"),
            *("--base-url", options.base_url),
            *("--records", str(records)),
            *("--requests-per-second", str(options.requests_per_second)),
            *("--streams", str(options.streams)),
            *("--stream-seconds", str(options.stream_duration.total_seconds())),
            *("--token-interval-seconds", str(options.token_interval.total_seconds())),
            *("--answer-timeout-seconds", str(options.answer_timeout.total_seconds())),
            *("--longest-seconds", str(longest.total_seconds())),
            *("--seed", str(options.seed)),
            *("--calls-per-second", str(options.calls_per_second)),
            *("--router", options.router),
            *("--deployment", options.deployment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            # In a session of its own, so that Ctrl-C reaches it through the demonstration and not on its own.
            start_new_session=True,
        )
    load = LoadProcess(process, log)
    try:
        yield load
    finally:
        await load.close()
