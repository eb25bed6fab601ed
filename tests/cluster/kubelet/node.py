"""The node itself: its object, its capacity and its heartbeats."""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import httpx2
from lightkube import ApiError
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Node, NodeStatus
from lightkube.types import PatchType

from tests.cluster.kubelet.api import NodeApi
from tests.cluster.kubelet.objects import now
from tests.cluster.kubelet.settings import NodeSettings

HOST: Final = "127.0.0.1"
FAKE_LABEL: Final = "celadon-tests/fake"

_log: Final = logging.getLogger(__name__)
_LEASE_SECONDS: Final = 40
_LEASES: Final = "kube-node-lease"
_INFO: Final = (
    *("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion"),
    *("kubeletVersion", "kubeProxyVersion", "operatingSystem", "architecture"),
)


async def keep_registered(api: NodeApi, settings: NodeSettings) -> None:
    """Create the node and say that it lives, for ever; whatever the API server does, the next heartbeat tries again."""
    while True:
        try:
            await _create(api, settings)
            await _beat(api, settings)
        except httpx2.HTTPError as error:
            _log.info("no heartbeat of %s: %s", settings.name, error)
        await asyncio.sleep(settings.heartbeat_seconds)


def status_of(settings: NodeSettings) -> dict[str, Any]:
    """Return the status of a node that is well."""
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "2000"}
    if settings.gpus:
        capacity["nvidia.com/gpu"] = str(settings.gpus)
    wells = (("Ready", "True"), ("MemoryPressure", "False"), ("DiskPressure", "False"), ("PIDPressure", "False"))
    return {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [
            {"type": "InternalIP", "address": HOST},
            {"type": "Hostname", "address": settings.name},
        ],
        "nodeInfo": dict.fromkeys(_INFO, "process"),
        "conditions": [
            {"type": kind, "status": status, "reason": "ProcessKubelet", "lastHeartbeatTime": now().isoformat()}
            for kind, status in wells
        ],
    }


async def _create(api: NodeApi, settings: NodeSettings) -> None:
    labels = {
        "kubernetes.io/hostname": settings.name,
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": settings.zone,
        FAKE_LABEL: str(settings.fake).lower(),
    }
    try:
        await api.client.get(Node, settings.name)
    except ApiError as error:
        if error.status.code != HTTPStatus.NOT_FOUND:
            raise
        await api.client.create(Node(metadata=ObjectMeta(name=settings.name, labels=labels)))


async def _beat(api: NodeApi, settings: NodeSettings) -> None:
    change = {"status": status_of(settings)}
    await api.client.patch(NodeStatus, settings.name, change, patch_type=PatchType.STRATEGIC)
    spec = LeaseSpec(holderIdentity=settings.name, leaseDurationSeconds=_LEASE_SECONDS, renewTime=datetime.now(UTC))
    lease = Lease(metadata=ObjectMeta(name=settings.name, namespace=_LEASES), spec=spec)
    # The namespace of leases is made a moment after the API server is ready; the status alone is a heartbeat too.
    with suppress(ApiError):
        await api.client.apply(lease, field_manager="kubelet", force=True)
