"""The pods of a node: each one that the scheduler gives to the node runs, each one that is gone ends."""

import asyncio
from typing import Final

from lightkube.resources.core_v1 import Pod

from tests.cluster.kubelet.addresses import Addresses
from tests.cluster.kubelet.api import Changed, Gone, Listed, NodeApi
from tests.cluster.kubelet.node import HOST
from tests.cluster.kubelet.objects import PodKey, is_leaving, status_of
from tests.cluster.kubelet.pod import Place, PodRun
from tests.cluster.kubelet.settings import NodeSettings
from tests.cluster.kubelet.status import ENDED


class NodePods:
    """What runs on a node."""

    def __init__(self, api: NodeApi, settings: NodeSettings) -> None:
        """Hold a node without pods."""
        self._api: Final = api
        self._settings: Final = settings
        self._addresses: Final = Addresses(settings.network, settings.addresses)
        self._runs: Final[dict[PodKey, PodRun]] = {}

    async def keep(self, group: asyncio.TaskGroup) -> None:
        """Follow the API server for ever; pods run in ``group``."""
        async for news in self._api.pods_of(self._settings.name):
            match news:
                case Listed(pods):
                    for pod in pods:
                        self._see(pod, group)
                    for key in self._runs.keys() - {PodKey.of(pod) for pod in pods}:
                        self._runs[key].lose()
                case Changed(pod):
                    self._see(pod, group)
                case Gone(pod):
                    if (run := self._runs.get(PodKey.of(pod))) is not None:
                        run.lose()

    def _see(self, pod: Pod, group: asyncio.TaskGroup) -> None:
        key = PodKey.of(pod)
        run = self._runs.get(key)
        if run is not None:
            run.see(pod)
        elif is_leaving(pod):
            group.create_task(self._api.remove(key))
        elif status_of(pod).phase not in ENDED:
            self._start(pod, group)

    def _start(self, pod: Pod, group: asyncio.TaskGroup) -> None:
        settings = self._settings
        address = self._addresses.take()
        run = PodRun(self._api, Place(settings.name, HOST, address, settings.work, settings.fake), pod)

        def ended() -> None:
            del self._runs[run.key]
            self._addresses.give_back(address)

        self._runs[run.key] = run
        group.create_task(run.run(ended))
