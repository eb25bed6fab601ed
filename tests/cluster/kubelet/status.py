"""What a node says of a pod, as the pod's status."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from lightkube.models.core_v1 import ContainerStatus, HostIP, PodCondition, PodIP, PodReadinessGate, PodStatus

from tests.cluster.kubelet.container import ContainerRun, any_failed
from tests.cluster.kubelet.objects import now

ENDED: Final = ("Failed", "Succeeded")
"""The phases that a pod never leaves."""


def phase_of(containers: Sequence[ContainerRun], *, over: bool) -> str:
    """Return a pod's phase; ``over`` says that all its containers have ended for good."""
    if over and all(container.state.terminated is not None for container in containers):
        return "Failed" if any_failed(containers) else "Succeeded"
    return "Running" if all(container.has_run for container in containers) else "Pending"


def container_status(container: ContainerRun) -> ContainerStatus:
    """Return the status of one container."""
    image = container.container.image or ""
    return ContainerStatus(
        name=container.container.name,
        image=image,
        imageID=image,
        containerID=None if container.process is None else f"process://{container.process.pid}",
        ready=container.ready,
        started=container.started,
        restartCount=container.restarts,
        state=container.state,
        lastState=container.last_state,
    )


def pod_conditions(
    before: Sequence[PodCondition], gates: Sequence[PodReadinessGate], *, containers_ready: bool, phase: str
) -> list[PodCondition]:
    """Return the conditions that a node writes; a moment stays as long as its condition.

    Conditions of others, such as readiness gates, are in ``before`` and are not written again.
    """
    known: Mapping[str, PodCondition] = {condition.type: condition for condition in before}
    gates_open = all(gate.conditionType in known and known[gate.conditionType].status == "True" for gate in gates)
    ended = phase in ENDED
    reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "ContainersNotReady")
    values = {
        "PodReadyToStartContainers": (not ended, None),
        "Initialized": (True, None),
        "ContainersReady": (containers_ready, reason),
        "Ready": (containers_ready and gates_open, "ReadinessGatesNotReady" if containers_ready else reason),
    }

    def since(kind: str, status: str) -> datetime:
        same = known.get(kind)
        return same.lastTransitionTime if same and same.status == status and same.lastTransitionTime else now()

    return [
        PodCondition(
            type=kind,
            status=str(holds),
            reason=None if holds else why,
            lastTransitionTime=since(kind, str(holds)),
        )
        for kind, (holds, why) in values.items()
    ]


def pod_status(
    containers: Sequence[ContainerRun],
    conditions: Sequence[PodCondition],
    *,
    phase: str,
    address: str,
    host: str,
    started_at: datetime,
) -> PodStatus:
    """Return the whole status."""
    return PodStatus(
        phase=phase,
        podIP=address,
        podIPs=[PodIP(ip=address)],
        hostIP=host,
        hostIPs=[HostIP(ip=host)],
        startTime=started_at,
        conditions=[*conditions],
        containerStatuses=[container_status(container) for container in containers],
    )
