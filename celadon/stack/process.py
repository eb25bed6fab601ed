"""One child process: what to start, how to tell that it is ready, how to stop it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

import psutil

from celadon.stack.child_log import ChildLog
from celadon.stack.errors import ChildFailedError
from celadon.stack.os_user import OsUser
from celadon.stack.parent_death import die_with_parent

PROBE_EVERY: Final = timedelta(milliseconds=25)
PROBE_TIMEOUT: Final = timedelta(seconds=3)
KILL_WITHIN: Final = timedelta(seconds=7)
"""A killed Postgres gives its own children 5 s; after this time even ``SIGKILL`` is sent."""


class NotReadyError(Exception):
    """A probe's answer while its child is not ready yet; the text says what is missing."""


Probe = Callable[[], Awaitable[None]]
"""Asks a child once whether it is ready: returns when it is, raises ``NotReadyError`` when it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What a child is: its command, its environment, its readiness and its way to stop."""

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    """The children that must be ready before this one starts."""
    environment: Mapping[str, str] = field(repr=False)
    ready: Probe
    ready_within: timedelta = timedelta(seconds=60)
    """Generous: the children of a stack start side by side, perhaps on a small machine that has other work too."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within: timedelta = timedelta(seconds=10)
    kill_signal: signal.Signals = signal.SIGKILL
    """Ends the child at once, when it did not stop in time or when its parent died."""
    account: OsUser | None = None
    working_directory: Path = Path("/")
    before_start: Callable[[], Awaitable[None]] | None = None
    """Clears the way for each start, for example of what a killed predecessor left."""
    once_ready: Callable[[], Awaitable[None]] | None = None
    """Finishes the first start, before any child that needs this one starts."""


class ChildProcess:
    """A child that was started; it has a session of its own, so that Ctrl-C in a terminal reaches the stack alone."""

    def __init__(self, spec: ChildSpec, process: asyncio.subprocess.Process, log: ChildLog) -> None:
        """Hold ``process``, which was started as ``spec`` says and writes to ``log``."""
        self.spec = spec
        self.pid = process.pid
        self.started_at = start_time(process.pid)
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, spec: ChildSpec, log: ChildLog) -> Self:
        """Start a child.

        Raises:
            ChildFailedError: its program cannot be started.

        """
        other = spec.account if spec.account is not None and not spec.account.is_current else None
        try:
            if spec.before_start is not None:
                await spec.before_start()
            with log.open() as output:
                spawning = asyncio.create_task(
                    asyncio.create_subprocess_exec(
                        *spec.command,
                        env=dict(spec.environment),
                        cwd=spec.working_directory,
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        start_new_session=True,
                        preexec_fn=die_with_parent(spec.kill_signal),
                        user=other.uid if other else None,
                        group=other.gid if other else None,
                        extra_groups=[] if other else None,
                        umask=0o077,
                    ),
                )
                try:
                    process = await asyncio.shield(spawning)
                except asyncio.CancelledError:
                    # Cancelled in the middle, asyncio would send SIGKILL, after which Postgres must recover.
                    await cls(spec, await spawning, log).stop()
                    raise
        except OSError as error:
            raise ChildFailedError(spec.name, f"cannot be started: {error}", log.file) from error
        return cls(spec, process, log)

    @property
    def exit_status(self) -> int | None:
        """The exit status, negative for the signal that ended the child, ``None`` while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait until the child has ended and return its exit status."""
        return await self._process.wait()

    async def until_ready(self) -> None:
        """Wait until the child's probe says that it is ready.

        Raises:
            ChildFailedError: it ended before, or was not ready within the time that its spec gives.

        """
        seconds = self.spec.ready_within.total_seconds()
        missing = "it has not answered yet"
        try:
            async with asyncio.timeout(seconds):
                while self.exit_status is None:
                    try:
                        async with asyncio.timeout(PROBE_TIMEOUT.total_seconds()):
                            await self.spec.ready()
                    except NotReadyError as error:
                        missing = str(error)
                    except TimeoutError:
                        missing = f"its probe had no answer in {PROBE_TIMEOUT.total_seconds():g} s"
                    else:
                        if self.exit_status is None:
                            return
                    await asyncio.sleep(PROBE_EVERY.total_seconds())
        except TimeoutError:
            raise self.failure(f"was not ready within {seconds:g} s ({missing})") from None
        raise self.failure(f"ended before it was ready ({describe_exit(self.exit_status)})")

    def failure(self, why: str) -> ChildFailedError:
        """Return the error that says ``why`` this child failed, with the end of its log."""
        return ChildFailedError(self.spec.name, why, self._log.file, self._log.last_lines())

    async def stop(self) -> bool:
        """Ask the child to stop, end it when it does not in time; return whether it stopped by itself."""
        self.send_signal(self.spec.stop_signal)
        try:
            async with asyncio.timeout(self.spec.stop_within.total_seconds()):
                await self.wait()
        except TimeoutError:
            await self.kill()
            return False
        return True

    async def kill(self) -> None:
        """End the child at once."""
        self.send_signal(self.spec.kill_signal)
        try:
            async with asyncio.timeout(KILL_WITHIN.total_seconds()):
                await self.wait()
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            await self.wait()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; a child that has ended gets none."""
        if self.exit_status is None:
            self._process.send_signal(number)


def start_time(pid: int) -> float | None:
    """Return when process ``pid`` was started, in seconds since the epoch; ``None`` when there is no such process.

    Together with the process id it names a process for ever: ids are used again.
    """
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def describe_exit(status: int | None) -> str:
    """Put an exit status in words."""
    if status is None:
        return "running"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit code {status}"
