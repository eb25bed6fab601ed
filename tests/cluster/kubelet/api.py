"""What a node asks of the API server."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx2
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.config import client_adapter
from lightkube.core.client import FieldSelector
from lightkube.models.core_v1 import PodStatus
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret
from lightkube.resources.core_v1 import PodStatus as PodStatusOf
from lightkube.types import PatchType

from tests.cluster.kubelet.objects import PodKey

_log: Final = logging.getLogger(__name__)
_AGAIN_SECONDS: Final = 0.5
_WATCH_SECONDS: Final = 300


@dataclass(frozen=True)
class Listed:
    """All pods of the node at one moment: what is not among them is gone."""

    pods: tuple[Pod, ...]


@dataclass(frozen=True)
class Changed:
    """A pod that is new or another one than before."""

    pod: Pod


@dataclass(frozen=True)
class Gone:
    """A pod whose object is no more."""

    pod: Pod


class NodeApi:
    """The API server, as a node speaks to it."""

    def __init__(self, kubeconfig: Path) -> None:
        """Speak to the server of ``kubeconfig`` as its user, who must be an administrator.

        Raises:
            ValueError: the file names no cluster in its current context.

        """
        config = KubeConfig.from_file(kubeconfig).get()
        if config is None:
            raise ValueError(f"{kubeconfig} has no current context with a cluster")
        self.client: Final = AsyncClient(config)
        # lightkube deletes without preconditions; the same connection settings serve a request of our own.
        self._http: Final[httpx2.AsyncClient] = client_adapter.AsyncClient(config, client_adapter.ConnectionParams())

    async def close(self) -> None:
        """Close all connections."""
        await self.client.close()
        await self._http.aclose()

    async def data_of(self, namespace: str, kind: str, name: str) -> Mapping[str, str] | None:
        """Return the data of a ``secret`` or a ``configmap``; ``None`` when there is no such object.

        Raises:
            ApiError: the server refuses the question.

        """
        try:
            if kind == "secret":
                return (await self.client.get(Secret, name, namespace=namespace)).data or {}
            return (await self.client.get(ConfigMap, name, namespace=namespace)).data or {}
        except ApiError as error:
            if error.status.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def write_status(self, key: PodKey, status: PodStatus) -> bool:
        """Write a pod's status; whether the server has it now, or has the pod no longer."""
        change = {"metadata": {"uid": key.uid}, "status": status.to_dict()}
        try:
            await self.client.patch(
                PodStatusOf, key.name, change, namespace=key.namespace, patch_type=PatchType.STRATEGIC
            )
        except ApiError as error:
            if error.status.code in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
                return True
            _log.warning("the status of pod %s was refused: %s", key.name, error)
            return False
        except httpx2.HTTPError as error:
            _log.info("the status of pod %s was not written: %s", key.name, error)
            return False
        return True

    async def remove(self, key: PodKey) -> None:
        """Remove the object of a pod that has ended, never that of a later pod of the same name."""
        precondition = {"gracePeriodSeconds": 0, "preconditions": {"uid": key.uid}}
        while True:
            try:
                answer = await self._http.request(
                    "DELETE", f"/api/v1/namespaces/{key.namespace}/pods/{key.name}", json=precondition
                )
            except httpx2.HTTPError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if (
                answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
                and answer.status_code != HTTPStatus.TOO_MANY_REQUESTS
            ):
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    async def pods_of(self, node: str) -> AsyncIterator[Listed | Changed | Gone]:
        """Yield the pods of a node, then their changes, for ever: after a lost watch all of them again."""
        of_node: FieldSelector = {"spec.nodeName": node}
        while True:
            try:
                listed = self.client.list(Pod, namespace="*", fields=of_node)
                yield Listed(tuple([pod async for pod in listed]))
                async for kind, pod in self.client.watch(
                    Pod,
                    namespace="*",
                    fields=of_node,
                    resource_version=listed.resourceVersion,
                    server_timeout=_WATCH_SECONDS,
                ):
                    yield Gone(pod) if kind == "DELETED" else Changed(pod)
            except httpx2.HTTPError as error:  # also ApiError, such as 410: the version is too old
                _log.info("the pods of %s are listed again: %s", node, error)
                await asyncio.sleep(_AGAIN_SECONDS)
