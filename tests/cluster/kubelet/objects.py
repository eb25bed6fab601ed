"""What is always there in objects of an API server, although their types call it optional."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from lightkube.models.core_v1 import PodSpec, PodStatus
from lightkube.resources.core_v1 import Pod


@dataclass(frozen=True)
class PodKey:
    """One pod: another pod of the same name has another uid."""

    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, pod: Pod) -> Self:
        """Return the key of a pod that an API server has answered.

        Raises:
            ValueError: the pod has no name, namespace or uid yet.

        """
        metadata = pod.metadata
        if metadata is None or metadata.namespace is None or metadata.name is None or metadata.uid is None:
            raise ValueError("a pod without name, namespace or uid does not come from an API server")
        return cls(metadata.namespace, metadata.name, metadata.uid)


def spec_of(pod: Pod) -> PodSpec:
    """Return what is wanted.

    Raises:
        ValueError: the pod says nothing of it.

    """
    if pod.spec is None:
        raise ValueError("a pod without a spec does not come from an API server")
    return pod.spec


def status_of(pod: Pod) -> PodStatus:
    """Return what is known; empty for a pod that nobody has looked at."""
    return pod.status or PodStatus()


def is_leaving(pod: Pod) -> bool:
    """Whether the pod has been deleted or evicted, and ends within its grace."""
    return pod.metadata is not None and pod.metadata.deletionTimestamp is not None


def grace_seconds(pod: Pod) -> int:
    """Return how long a pod that leaves may take, in seconds."""
    asked = pod.metadata.deletionGracePeriodSeconds if pod.metadata is not None else None
    return 30 if asked is None else asked


def now() -> datetime:
    """Return the moment in the precision of an API server, which keeps seconds."""
    return datetime.now(UTC).replace(microsecond=0)
