"""One process of a control plane or of a node: started with a log of its own, and gone when its tests are."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import aiohttp

from celadon.stack.parent_death import die_with_parent

READY_SECONDS: Final = 240.0
"""How long a part may take to be ready; an API server takes about 3 s on a machine that does nothing else."""
STOP_SECONDS: Final = 30.0
"""How long a part may take to end after SIGTERM, before SIGKILL."""

_POLL_SECONDS: Final = 0.1
_LAST_CHARACTERS: Final = 4000


class PartFailedError(Exception):
    """A part ended by itself, or was not ready in time; the text has the last lines of its log."""


class Part:
    """A process that can be stopped, killed, frozen and started again."""

    def __init__(self, name: str, command: Sequence[str], logs: Path, directory: Path | None = None) -> None:
        """Hold a command that runs in ``directory``; its output goes to a file of the part's name in ``logs``."""
        self.name: Final = name
        self.log: Final = logs / f"{name}.log"
        self._command: Final = tuple(command)
        self._directory: Final = directory or logs
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Return the process id.

        Raises:
            PartFailedError: the part does not run.

        """
        if self._process is None or self._process.returncode is not None:
            raise PartFailedError(f"{self.name} does not run")
        return self._process.pid

    async def start(self) -> None:
        """Start the process; it is killed when the process of the tests dies."""
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )

    async def wait_until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until a condition of the running part holds.

        Raises:
            PartFailedError: the part ended, or the condition did not hold within ``READY_SECONDS``.

        """
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await holds():
                    if not self.is_running:
                        raise PartFailedError(f"{self.name} ended before {what}; {self._said()}")
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise PartFailedError(f"waited {READY_SECONDS:.0f} s until {what}; {self._said()}") from None

    async def stop(self) -> None:
        """Ask the process to end and wait for it; it is killed when that takes longer than ``STOP_SECONDS``."""
        if self._process is None or not self.is_running:
            return
        self._process.send_signal(signal.SIGTERM)
        self._process.send_signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """Kill the process and wait for its end."""
        if self._process is not None and self.is_running:
            self._process.kill()
            await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process.

        Raises:
            PartFailedError: the part does not run.

        """
        if self._process is None or not self.is_running:
            raise PartFailedError(f"{self.name} does not run, so no {number.name} reaches it")
        self._process.send_signal(number)

    def _said(self) -> str:
        said = self.log.read_text(encoding="utf-8", errors="replace")[-_LAST_CHARACTERS:]
        return f"the end of {self.log}:\n{said}"


async def answers(session: aiohttp.ClientSession, url: str, timeout_seconds: float = 5.0) -> bool:
    """Whether ``url`` answers with 200 within ``timeout_seconds``."""
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=timeout_seconds)) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
