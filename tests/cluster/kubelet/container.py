"""One container of a pod, from its first start to its last end."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lightkube.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    LifecycleHandler,
)

from celadon.racing import wait_at_most
from tests.cluster.kubelet.container_process import START_ERROR_CODE, ContainerProcess, StartError, bytes_of
from tests.cluster.kubelet.environment import ConfigurationError, expand
from tests.cluster.kubelet.objects import now
from tests.cluster.kubelet.probes import Action, Probing, Target

MISSING_IMAGES: Final = "missing/"
"""What names of images begin with that cannot be pulled."""

_PULL_AGAIN_SECONDS: Final = 5.0
_CONFIGURE_AGAIN_SECONDS: Final = 1.0
_FIRST_BACKOFF_SECONDS: Final = 1.0
_LONGEST_BACKOFF_SECONDS: Final = 20.0
_STEADY_SECONDS: Final = 60.0
"""A container that ran for so long starts again without the backoff of earlier ends."""


@dataclass
class Leaving:
    """Whether, and how fast, a pod leaves: by its deletion, or because its object is gone."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    _deadline: float = math.inf
    _sooner: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self, grace_seconds: float) -> None:
        """Let the pod leave within ``grace_seconds`` from now; an earlier end that was asked for before stays."""
        self._deadline = min(self._deadline, asyncio.get_running_loop().time() + grace_seconds)
        self.asked.set()
        self._sooner.set()

    def seconds_left(self) -> float:
        """Return how long the pod may still take, in seconds; 0 once its time is over."""
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    async def wait_for_end(self) -> None:
        """Wait until the time of the pod is over, also when the time becomes shorter meanwhile."""
        await self.asked.wait()
        while left := self.seconds_left():
            self._sooner.clear()
            await wait_at_most(self._sooner, left)


@dataclass
class ContainerRun:
    """A container and what its status says."""

    container: Container
    address: str
    restart_policy: str
    log: Path
    environment: Callable[[Container], Awaitable[dict[str, str]]]
    """Returns the container's environment; see ``environment_of``."""
    leaving: Leaving
    changed: Callable[[], None]
    """Called when the status is another one."""
    state: ContainerState = field(
        default_factory=lambda: ContainerState(waiting=ContainerStateWaiting(reason="ContainerCreating"))
    )
    last_state: ContainerState = field(default_factory=ContainerState)
    restarts: int = 0
    has_run: bool = False
    probing: Probing | None = None
    process: ContainerProcess | None = None

    @property
    def started(self) -> bool:
        """Whether the process runs and its startup probe has succeeded."""
        return self.probing is not None and self.probing.started

    @property
    def ready(self) -> bool:
        """Whether the readiness probe succeeds."""
        return self.probing is not None and self.probing.ready

    async def run(self) -> None:
        """Run until the container has ended for good: by the pod's restart policy, or because the pod leaves."""
        if self.container.image is not None and self.container.image.startswith(MISSING_IMAGES):
            await self._pull_in_vain()
            return
        backoff = _FIRST_BACKOFF_SECONDS
        while not self.leaving.asked.is_set():
            try:
                environment = await self.environment(self.container)
            except ConfigurationError as error:
                self._wait("CreateContainerConfigError", str(error))
                await wait_at_most(self.leaving.asked, _CONFIGURE_AGAIN_SECONDS)
                continue
            began = asyncio.get_running_loop().time()
            ended = await self._run_once(environment)
            self._becomes(ContainerState(terminated=ended))
            if self.leaving.asked.is_set() or not self._starts_again(ended.exitCode):
                return
            steady = asyncio.get_running_loop().time() - began > _STEADY_SECONDS
            backoff = _FIRST_BACKOFF_SECONDS if steady else min(2 * backoff, _LONGEST_BACKOFF_SECONDS)
            self.last_state, self.restarts = self.state, self.restarts + 1
            self._wait("CrashLoopBackOff", f"back-off {backoff:.0f}s restarting failed container={self.container.name}")
            await wait_at_most(self.leaving.asked, backoff)

    def _starts_again(self, exit_code: int) -> bool:
        return self.restart_policy == "Always" or (self.restart_policy == "OnFailure" and exit_code != 0)

    async def _pull_in_vain(self) -> None:
        image = self.container.image
        while not self.leaving.asked.is_set():
            self._wait("ErrImagePull", f'failed to pull image "{image}": pull access denied, repository does not exist')
            await wait_at_most(self.leaving.asked, _PULL_AGAIN_SECONDS)
            self._wait("ImagePullBackOff", f'Back-off pulling image "{image}"')
            await wait_at_most(self.leaving.asked, _PULL_AGAIN_SECONDS)

    async def _run_once(self, environment: dict[str, str]) -> ContainerStateTerminated:
        """Run one process to its end."""
        wanted = self.container
        command = [expand(word, environment) for word in [*(wanted.command or []), *(wanted.args or [])]]
        limits = wanted.resources.limits if wanted.resources is not None else None
        memory = (limits or {}).get("memory")
        try:
            process = await ContainerProcess.start(
                command,
                environment,
                Path(wanted.workingDir) if wanted.workingDir else self.log.parent,
                self.log,
                None if memory is None else bytes_of(memory),
            )
        except (StartError, ValueError) as error:
            self.has_run = True
            return ContainerStateTerminated(
                exitCode=START_ERROR_CODE,
                reason="StartError",
                message=f"failed to create containerd task: {error}: unknown",
                startedAt=now(),
                finishedAt=now(),
            )
        started_at = now()
        target = Target(self.address, wanted.ports or [], environment)
        self.process, self.has_run = process, True
        self.probing = Probing(wanted, target, self.changed)
        self._becomes(ContainerState(running=ContainerStateRunning(startedAt=started_at)))
        guards = [
            asyncio.create_task(self._kill_when_dead(process, self.probing)),
            asyncio.create_task(self._stop_when_leaving(process, target)),
        ]
        try:
            ended = await process.wait()
        finally:
            process.kill()
            for guard in guards:
                guard.cancel()
            await asyncio.gather(*guards, return_exceptions=True)
            self.probing = self.process = None
        speaks = ended.exit_code != 0 and wanted.terminationMessagePolicy == "FallbackToLogsOnError"
        return ContainerStateTerminated(
            exitCode=ended.exit_code,
            reason=ended.reason,
            message=process.last_words() if speaks else None,
            startedAt=started_at,
            finishedAt=now(),
        )

    async def _kill_when_dead(self, process: ContainerProcess, probing: Probing) -> None:
        """Kill a container that its startup or liveness probe calls dead; one that leaves is no longer judged."""
        await probing.run()
        if not self.leaving.asked.is_set():
            process.kill()

    async def _stop_when_leaving(self, process: ContainerProcess, target: Target) -> None:
        """Do what a deletion does: preStop, SIGTERM, SIGKILL, all within the grace."""
        await self.leaving.asked.wait()
        hook = self.container.lifecycle.preStop if self.container.lifecycle is not None else None
        stopping = asyncio.create_task(_stop(process, hook, target, self.leaving.seconds_left()))
        try:
            await self.leaving.wait_for_end()
        finally:
            stopping.cancel()
        process.kill()

    def _wait(self, reason: str, message: str) -> None:
        self._becomes(ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message)))

    def _becomes(self, state: ContainerState) -> None:
        self.state = state
        self.changed()


async def _stop(process: ContainerProcess, hook: LifecycleHandler | None, target: Target, grace_seconds: float) -> None:
    if hook is not None and hook.sleep is not None:
        await asyncio.sleep(hook.sleep.seconds)
    elif hook is not None:
        await target.succeeds(Action(hook.httpGet, hook.tcpSocket, hook.exec), grace_seconds)
    process.terminate()


def any_failed(containers: Sequence[ContainerRun]) -> bool:
    """Whether a container that has ended failed."""
    ends = [container.state.terminated for container in containers]
    return any(end is not None and end.exitCode != 0 for end in ends)
