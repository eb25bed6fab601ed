"""The program of a node: ``python -m tests.cluster.kubelet --help`` lists what it is told."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from tests.cluster.kubelet.api import NodeApi
from tests.cluster.kubelet.node import keep_registered
from tests.cluster.kubelet.pods import NodePods
from tests.cluster.kubelet.settings import NodeSettings


def _arguments() -> tuple[Path, NodeSettings]:
    parser = argparse.ArgumentParser(description="Runs the pods of one node as processes.")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="of an administrator")
    parser.add_argument("--node", required=True, help="the node's name")
    parser.add_argument("--network", required=True, help="the first two numbers of its pods' addresses")
    parser.add_argument("--work", type=Path, required=True, help="where the output of containers is kept")
    parser.add_argument("--gpus", type=int, default=NodeSettings.gpus, help="how many nvidia.com/gpu it has")
    parser.add_argument("--zone", default=NodeSettings.zone)
    parser.add_argument("--fake", action="store_true", help="pods are ready at once, without processes")
    parser.add_argument("--addresses", type=int, default=NodeSettings.addresses, help="how many addresses it has")
    given = parser.parse_args()
    return given.kubeconfig, NodeSettings(
        name=given.node,
        network=given.network,
        work=given.work,
        gpus=given.gpus,
        zone=given.zone,
        fake=given.fake,
        addresses=given.addresses,
    )


async def run_node(kubeconfig: Path, settings: NodeSettings) -> None:
    """Run a node until the task is cancelled; its processes end with it."""
    settings.work.mkdir(parents=True, exist_ok=True)
    api = NodeApi(kubeconfig)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_registered(api, settings))
            group.create_task(NodePods(api, settings).keep(group))
    finally:
        await api.close()


async def _run_until_terminated() -> None:
    node = asyncio.ensure_future(run_node(*_arguments()))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, node.cancel)
    await asyncio.wait([node])
    if not node.cancelled():
        node.result()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    asyncio.run(_run_until_terminated())
