"""Keeps a set of children running: starts them in order, restarts the ones that die, stops all in reverse order."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Self

import structlog
from pydantic import BaseModel, ConfigDict

from celadon.racing import task_group
from celadon.stack.child_log import ChildLog
from celadon.stack.errors import ChildFailedError, StackError
from celadon.stack.process import ChildProcess, ChildSpec, describe_exit
from celadon.stack.restart_policy import RestartHistory

log = structlog.get_logger()


class ChildState(StrEnum):
    """What a child is doing, as its supervisor sees it."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    CRASH_LOOPING = "crash_looping"
    STOPPED = "stopped"


class ChildStatus(BaseModel):
    """One child at one moment."""

    model_config = ConfigDict(frozen=True)

    name: str
    state: ChildState
    pid: int | None
    """Process id; ``None`` while there is no process."""
    started_at: float | None
    """Seconds since the epoch; with ``pid`` it names the process for ever."""
    restarts: int
    log_file: Path


class Supervisor:
    """Runs children that are described by ``ChildSpec``, each after the ones it needs."""

    def __init__(self, specs: Sequence[ChildSpec], logs: Path, on_change: Callable[[], None]) -> None:
        """Take ``specs`` in the order in which they may start; write logs into ``logs``.

        ``on_change`` is called after every change of a child's state or process.

        Raises:
            ValueError: a child needs one that does not stand before it.

        """
        self._children: dict[str, _Child] = {}
        for spec in specs:
            for needed in spec.after:
                if needed not in self._children:
                    raise ValueError(f"child {spec.name!r} needs {needed!r}, which does not stand before it")
            needs = tuple(self._children[needed] for needed in spec.after)
            self._children[spec.name] = _Child(spec, needs, ChildLog(logs / f"{spec.name}.log"), on_change)

    async def start(self) -> None:
        """Start all children, each as soon as those it needs are ready; return when all are.

        Raises:
            StackError: one cannot be started or does not become ready; the others are left for ``stop``.

        """
        try:
            async with task_group() as group:
                for child in self._children.values():
                    group.create_task(child.start())
        except BaseExceptionGroup as errors:
            raise _first_of(errors) from errors

    async def until_broken(self) -> None:
        """Wait until a child cannot be kept any longer, which a dying child is no reason for.

        Raises:
            Exception: what kept the supervisor from restarting the child.

        """
        keeping = [child.keeping for child in self._children.values() if child.keeping is not None]
        broken, _ = await asyncio.wait(keeping, return_when=asyncio.FIRST_COMPLETED)
        for task in broken:
            await task

    async def stop(self) -> None:
        """Stop the children one after the other, the last in their order first."""
        await asyncio.gather(*(child.let_die() for child in self._children.values()))
        for child in reversed(self._children.values()):
            await child.stop()

    async def kill(self) -> None:
        """End all children at once."""
        await asyncio.gather(*(child.let_die() for child in self._children.values()))
        await asyncio.gather(*(child.kill() for child in self._children.values()))

    @property
    def children(self) -> tuple[ChildStatus, ...]:
        """All children as they are now."""
        return tuple(child.status for child in self._children.values())


class _Child:
    """One child through all its processes."""

    def __init__(self, spec: ChildSpec, needs: tuple[Self, ...], log: ChildLog, on_change: Callable[[], None]) -> None:
        self._spec = spec
        self._needs = needs
        self._log = log
        self._on_change = on_change
        self._first_ready = asyncio.Event()
        self._process: ChildProcess | None = None
        self.keeping: asyncio.Task[None] | None = None
        self._state = ChildState.WAITING
        self._restarts = 0

    @property
    def status(self) -> ChildStatus:
        running = self._process if self._process is not None and self._process.exit_status is None else None
        return ChildStatus(
            name=self._spec.name,
            state=self._state,
            pid=running.pid if running else None,
            started_at=running.started_at if running else None,
            restarts=self._restarts,
            log_file=self._log.file,
        )

    async def start(self) -> None:
        for needed in self._needs:
            await needed.wait_first_ready()
        began = time.monotonic()
        self._become(ChildState.STARTING)
        process = await self._launch()
        if self._spec.once_ready is not None:
            await self._spec.once_ready()
        log.info("child.ready", child=self._spec.name, pid=process.pid, seconds=round(time.monotonic() - began, 3))
        self._become(ChildState.READY)
        self._first_ready.set()
        self.keeping = asyncio.create_task(self._keep(process), name=f"keep {self._spec.name}")

    async def wait_first_ready(self) -> None:
        await self._first_ready.wait()

    async def let_die(self) -> None:
        """Restart the child no more."""
        if self.keeping is not None:
            self.keeping.cancel()
            await asyncio.wait([self.keeping])

    async def stop(self) -> None:
        if self._process is None:
            return
        began = time.monotonic()
        by_itself = await self._process.stop()
        self._become(ChildState.STOPPED)
        report = log.info if by_itself else log.warning
        report("child.stopped", child=self._spec.name, seconds=round(time.monotonic() - began, 3), killed=not by_itself)

    async def kill(self) -> None:
        if self._process is not None:
            await self._process.kill()
            self._become(ChildState.STOPPED)

    async def _launch(self) -> ChildProcess:
        """Start a process and wait until it is ready; one that does not become ready is ended."""
        self._process = await ChildProcess.start(self._spec, self._log)
        self._on_change()
        try:
            await self._process.until_ready()
        except ChildFailedError:
            await self._process.kill()
            raise
        return self._process

    async def _keep(self, process: ChildProcess) -> None:
        """Wait for the process to end and start it again, for ever."""
        history = RestartHistory()
        while True:
            ready_at = time.monotonic()
            why = f"ended ({describe_exit(await process.wait())})"
            history = history.after_death(timedelta(seconds=time.monotonic() - ready_at))
            process, history = await self._restart(process.failure(why), history)

    async def _restart(self, failure: StackError, history: RestartHistory) -> tuple[ChildProcess, RestartHistory]:
        while True:
            self._become(ChildState.CRASH_LOOPING if history.is_crash_loop else ChildState.RESTARTING)
            report = log.error if history.is_crash_loop else log.warning
            report(
                "child.crash_looping" if history.is_crash_loop else "child.died",
                child=self._spec.name,
                deaths=history.deaths,
                restart_in_seconds=history.delay.total_seconds(),
                reason=str(failure),
            )
            await asyncio.sleep(history.delay.total_seconds())
            self._restarts += 1
            try:
                process = await self._launch()
            except StackError as error:
                failure = error
                history = history.after_death(timedelta(0))
                continue
            log.info("child.restarted", child=self._spec.name, pid=process.pid, restarts=self._restarts)
            self._become(ChildState.READY)
            return process, history

    def _become(self, state: ChildState) -> None:
        if state is not self._state:
            self._state = state
            self._on_change()


def _first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group, however deep it lies."""
    first = errors.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
