"""Processes that are started as a container or a unit starts them, and stopped as it stops them."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

DEADLINE_SECONDS = 120.0
_POLL_SECONDS = 0.2


@dataclass
class Started:
    """A process, with what it says in a file."""

    name: str
    process: asyncio.subprocess.Process
    environment: Mapping[str, str]
    log: Path

    @property
    def told(self) -> str:
        """Return what it has said."""
        return f"{self.name} said:\n{self.log.read_text()[-4000:]}"

    async def until_ended(self, within: timedelta) -> int:
        """Wait for the end; a process that does not end in time is killed, and the test fails."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise AssertionError(f"{self.name} did not end within {within}; {self.told}") from None

    async def until_healthy(self, check: Sequence[str]) -> None:
        """Wait until a health check succeeds."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await run(check, self.environment) != 0:
                assert self.process.returncode is None, self.told
                await asyncio.sleep(_POLL_SECONDS)

    async def stop(self, within: timedelta) -> int:
        """Ask the process, and it alone, to stop; return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.until_ended(within)


async def start(name: str, command: Sequence[str], environment: Mapping[str, str], directory: Path) -> Started:
    """Start a process."""
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Started(name, process, environment, log)


async def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end; return its exit code."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


async def output_of(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command to its end; return its exit code and all that it said."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()
