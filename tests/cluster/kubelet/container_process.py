"""The process of a container: its start, its limit of memory, its end and its last words."""

import asyncio
import os
import re
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from celadon.stack.parent_death import die_with_parent

START_ERROR_CODE: Final = 128
"""The exit code of a container whose command could not be executed."""

_KILLED: Final = 128 + signal.SIGKILL
_LAST_BYTES: Final = 2048
_LAST_LINES: Final = 80
_LOOK_EVERY_SECONDS: Final = 0.1
_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class StartError(Exception):
    """A command could not be executed; the text says why."""


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    exit_code: int
    reason: str
    """``Completed``, ``Error`` or ``OOMKilled``."""


class ContainerProcess:
    """A process in a session of its own, with all that it started there."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, memory_limit: int | None) -> None:
        """Hold a started process whose output goes to ``log``; ``memory_limit`` is in bytes."""
        self._process: Final = process
        self._log: Final = log
        self._memory_limit: Final = memory_limit
        self._out_of_memory = False

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        log: Path,
        memory_limit: int | None = None,
    ) -> "ContainerProcess":
        """Start a command; it dies with the kubelet, as a node's containers do when the node loses its power.

        Raises:
            StartError: there is no such program, or it cannot be executed.

        """
        if not command:
            raise StartError("no command specified: an image stands for no program here, so the pod must name one")
        with log.open("wb") as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    env=dict(environment),
                    cwd=directory,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=die_with_parent(signal.SIGKILL),
                )
            except OSError as error:
                raise StartError(f'exec: "{command[0]}": {(error.strerror or "cannot be executed").lower()}') from error
        return cls(process, log, memory_limit)

    @property
    def pid(self) -> int:
        """Return the process id, which is also that of its session and group."""
        return self._process.pid

    async def wait(self) -> Ended:
        """Wait for the end of the process, then end what it left in its group."""
        guard = asyncio.create_task(self._watch_memory()) if self._memory_limit is not None else None
        try:
            code = await self._process.wait()
        finally:
            if guard is not None:
                guard.cancel()
        self.kill()
        if self._out_of_memory:
            return Ended(_KILLED, "OOMKilled")
        exit_code = code if code >= 0 else 128 - code
        return Ended(exit_code, "Error" if exit_code else "Completed")

    def terminate(self) -> None:
        """Send SIGTERM to the process alone, as to the first one of a container."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """Kill the whole group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """Return the end of the output: at most 80 lines and 2048 bytes."""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - _LAST_BYTES))
            lines = file.read().decode(errors="replace").splitlines(keepends=True)
        return "".join(lines[-_LAST_LINES:])

    async def _watch_memory(self) -> None:
        """Kill the group when it holds more memory than its limit, as a control group does."""
        while self._memory_limit is not None:
            if _resident_bytes(self.pid) > self._memory_limit:
                self._out_of_memory = True
                self.kill()
                return
            await asyncio.sleep(_LOOK_EVERY_SECONDS)


def bytes_of(quantity: str) -> int:
    """Return a quantity such as ``64Mi`` in bytes.

    Raises:
        ValueError: it is written in another way.

    """
    found = re.fullmatch(r"(\d+)(\w{0,2})", quantity)
    if found is None or found[2] not in _UNITS:
        raise ValueError(
            f"{quantity} is no whole number of bytes with one of the units {', '.join(filter(None, _UNITS))}"
        )
    return int(found[1]) * _UNITS[found[2]]


def _resident_bytes(pid: int) -> int:
    """Return the memory of a process and of what it started, in bytes; 0 once the process has ended."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                total += member.memory_info().rss
    return total
