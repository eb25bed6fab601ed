"""The probes of a container, and the actions that probes and hooks take."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import aiohttp
from lightkube.models.core_v1 import (
    Container,
    ContainerPort,
    ExecAction,
    HTTPGetAction,
    Probe,
    TCPSocketAction,
)

_OK: Final = range(200, 400)
_IMPATIENT_SECONDS: Final = 0.2
"""How often a container that is not ready yet is asked at most: tests wait for it."""
_DEFAULT_PERIOD: Final = 10
_DEFAULT_THRESHOLD: Final = 3


@dataclass(frozen=True)
class Action:
    """What is asked of a container: one of the three is there."""

    http: HTTPGetAction | None = None
    tcp: TCPSocketAction | None = None
    command: ExecAction | None = None


@dataclass(frozen=True)
class Target:
    """A container, as its probes and hooks reach it."""

    address: str
    ports: Sequence[ContainerPort]
    environment: Mapping[str, str]

    def port(self, port: int | str) -> int:
        """Return the number of a port that may be given by its name.

        Raises:
            ValueError: no port of the container has the name.

        """
        if isinstance(port, int):
            return port
        for known in self.ports:
            if known.name == port:
                return known.containerPort
        raise ValueError(f"the container has no port {port}")

    async def succeeds(self, action: Action, timeout_seconds: float) -> bool:
        """Whether the container answers an action within ``timeout_seconds``."""
        with suppress(OSError, aiohttp.ClientError, TimeoutError, ValueError):
            async with asyncio.timeout(timeout_seconds):
                if action.http is not None:
                    return await self._answers(action.http)
                if action.tcp is not None:
                    _, writer = await asyncio.open_connection(
                        action.tcp.host or self.address, self.port(action.tcp.port)
                    )
                    writer.close()
                    return True
                if action.command is not None:
                    return await self._runs(action.command.command or [])
        return False

    async def _answers(self, action: HTTPGetAction) -> bool:
        url = f"http://{action.host or self.address}:{self.port(action.port)}{action.path or '/'}"
        headers = {header.name: header.value for header in action.httpHeaders or []}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.get(url, headers=headers, allow_redirects=False) as response,
        ):
            return response.status in _OK

    async def _runs(self, command: Sequence[str]) -> bool:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(self.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            return await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()


def action_of(probe: Probe) -> Action:
    """Return what a probe asks."""
    return Action(probe.httpGet, probe.tcpSocket, probe.exec)


@dataclass
class Probing:
    """What probes say of a container while it runs."""

    container: Container
    target: Target
    changed: Callable[[], None]
    started: bool = False
    ready: bool = False

    async def run(self) -> None:
        """Probe until the container must be killed because it did not start, or is dead; then return.

        Without a probe that could say so this never returns.
        """
        if not await self._start():
            return
        self._says(started=True, ready=self.ready)
        readiness = asyncio.create_task(self._watch_readiness())
        try:
            await self._watch_liveness()
        finally:
            readiness.cancel()
            await asyncio.gather(readiness, return_exceptions=True)

    def _says(self, *, started: bool, ready: bool) -> None:
        if (started, ready) != (self.started, self.ready):
            self.started, self.ready = started, ready
            self.changed()

    async def _ask(self, probe: Probe) -> bool:
        return await self.target.succeeds(action_of(probe), probe.timeoutSeconds or 1)

    async def _start(self) -> bool:
        """Whether the container has started in time."""
        probe = self.container.startupProbe
        if probe is None:
            return True
        await asyncio.sleep(probe.initialDelaySeconds or 0)
        period = probe.periodSeconds or _DEFAULT_PERIOD
        # Asked more often than the probe says, but for as long.
        deadline = asyncio.get_running_loop().time() + period * (probe.failureThreshold or _DEFAULT_THRESHOLD)
        while not await self._ask(probe):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(min(_IMPATIENT_SECONDS, period))
        return True

    async def _watch_readiness(self) -> None:
        probe = self.container.readinessProbe
        if probe is None:
            self._says(started=True, ready=True)
            return
        await asyncio.sleep(probe.initialDelaySeconds or 0)
        period, failures = probe.periodSeconds or _DEFAULT_PERIOD, 0
        while True:
            failures = 0 if await self._ask(probe) else failures + 1
            stays = self.ready and failures < (probe.failureThreshold or _DEFAULT_THRESHOLD)
            self._says(started=True, ready=failures == 0 or stays)
            await asyncio.sleep(period if self.ready else min(_IMPATIENT_SECONDS, period))

    async def _watch_liveness(self) -> None:
        """Return when the container is dead."""
        probe = self.container.livenessProbe
        if probe is None:
            await asyncio.Event().wait()
            return
        await asyncio.sleep(probe.initialDelaySeconds or 0)
        failures = 0
        while failures < (probe.failureThreshold or _DEFAULT_THRESHOLD):
            await asyncio.sleep(probe.periodSeconds or _DEFAULT_PERIOD)
            failures = 0 if await self._ask(probe) else failures + 1
