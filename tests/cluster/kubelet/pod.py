"""One pod of a node, from the moment the node hears of it until its object is gone."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
from lightkube.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    PodStatus,
)
from lightkube.resources.core_v1 import Pod

from tests.cluster.kubelet.api import NodeApi
from tests.cluster.kubelet.container import ContainerRun, Leaving
from tests.cluster.kubelet.environment import ConfigurationError, environment_of
from tests.cluster.kubelet.objects import PodKey, grace_seconds, is_leaving, now, spec_of, status_of
from tests.cluster.kubelet.probes import Probing, Target
from tests.cluster.kubelet.status import phase_of, pod_conditions, pod_status

_WRITE_AGAIN_SECONDS: Final = 1.0
_LOST_CODE: Final = 137


@dataclass(frozen=True)
class Place:
    """Where a pod runs."""

    node: str
    host: str
    address: str
    work: Path
    fake: bool


class PodRun:
    """A pod, its containers and what is written of them."""

    def __init__(self, api: NodeApi, place: Place, pod: Pod) -> None:
        """Hold a pod that is new to the node."""
        self.key: Final = PodKey.of(pod)
        self._api: Final = api
        self._place: Final = place
        self._pod = pod
        self._leaving: Final = Leaving()
        self._changed: Final = asyncio.Event()
        self._started_at: Final = now()
        self._over = False
        spec = spec_of(pod)
        self._containers: Final = [
            ContainerRun(
                container,
                place.address,
                spec.restartPolicy or "Always",
                place.work / f"{self.key.uid}-{container.name}.log",
                self._environment,
                self._leaving,
                self._changed.set,
            )
            for container in spec.containers
        ]
        self.see(pod)

    def see(self, pod: Pod) -> None:
        """Take what the API server says of the pod now."""
        self._pod = pod
        if is_leaving(pod):
            self._leaving.ask(grace_seconds(pod))
        self._changed.set()  # a readiness gate may have opened

    def lose(self) -> None:
        """End the pod at once: its object is gone."""
        self._leaving.ask(0)

    async def run(self, ended: Callable[[], None]) -> None:
        """Run the pod, write its status, and remove its object once it is deleted; then call ``ended``."""
        writer = asyncio.create_task(self._write_changes())
        try:
            if self._was_running_before():
                self._lost_with_the_node()
            elif self._place.fake:
                await self._pretend()
            else:
                await asyncio.gather(*(container.run() for container in self._containers))
            self._over = True
            self._changed.set()
            await self._leaving.asked.wait()
            writer.cancel()
            await self._api.write_status(self.key, self._status())
            await self._api.remove(self.key)
        finally:
            writer.cancel()
            ended()

    def _was_running_before(self) -> bool:
        """Whether an earlier kubelet of the node ran the pod, whose processes ended with that kubelet."""
        known = status_of(self._pod).containerStatuses or []
        never = spec_of(self._pod).restartPolicy == "Never"
        return never and any(status.state is not None and status.state.running is not None for status in known)

    def _lost_with_the_node(self) -> None:
        for container in self._containers:
            container.has_run = True
            container.state = ContainerState(
                terminated=ContainerStateTerminated(
                    exitCode=_LOST_CODE,
                    reason="ContainerStatusUnknown",
                    message="The container could not be located when the pod was terminated",
                    finishedAt=now(),
                )
            )

    async def _pretend(self) -> None:
        """Be ready at once, until the pod leaves."""
        for container in self._containers:
            container.has_run = True
            container.state = ContainerState(running=ContainerStateRunning(startedAt=now()))
            target = Target(self._place.address, (), {})
            container.probing = Probing(container.container, target, self._changed.set, started=True, ready=True)
        self._changed.set()
        await self._leaving.asked.wait()
        for container in self._containers:
            container.probing = None
            container.state = ContainerState(
                terminated=ContainerStateTerminated(exitCode=0, reason="Completed", finishedAt=now())
            )

    async def _environment(self, container: Container) -> dict[str, str]:
        key, place = self.key, self._place
        fields = {
            "metadata.name": key.name,
            "metadata.namespace": key.namespace,
            "metadata.uid": key.uid,
            "spec.nodeName": place.node,
            "status.hostIP": place.host,
            "status.podIP": place.address,
            "status.podIPs": place.address,
        }
        metadata = self._pod.metadata
        for what, values in (
            ("labels", metadata.labels if metadata is not None else None),
            ("annotations", metadata.annotations if metadata is not None else None),
        ):
            fields.update({f"metadata.{what}['{name}']": value for name, value in (values or {}).items()})
        try:
            return await environment_of(
                container, key.name, fields, lambda kind, name: self._api.data_of(key.namespace, kind, name)
            )
        except httpx2.HTTPError as error:  # asked again a moment later
            raise ConfigurationError(f"the API server does not answer: {error}") from error

    def _status(self) -> PodStatus:
        phase = phase_of(self._containers, over=self._over)
        conditions = pod_conditions(
            status_of(self._pod).conditions or [],
            spec_of(self._pod).readinessGates or [],
            containers_ready=all(container.ready for container in self._containers),
            phase=phase,
        )
        return pod_status(
            self._containers,
            conditions,
            phase=phase,
            address=self._place.address,
            host=self._place.host,
            started_at=self._started_at,
        )

    async def _write_changes(self) -> None:
        """Write the status whenever it is another one, and again where the server did not take it."""
        written: PodStatus | None = None
        while True:
            await self._changed.wait()
            self._changed.clear()
            status = self._status()
            if status == written:
                continue
            if await self._api.write_status(self.key, status):
                written = status
            else:
                await asyncio.sleep(_WRITE_AGAIN_SECONDS)
                self._changed.set()
