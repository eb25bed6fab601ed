"""What becomes of replicas when parts of the stack end."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from celadon.client.rollouts import RolloutClient
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.payload import parse_payload
from celadon.provisioners.replica_files import ReplicaFiles
from celadon.stack.access import signer_of
from celadon.stack.addresses import StackAddresses
from celadon.stack.replicas import running_replicas
from tests.stack.processes import DEADLINE_SECONDS, until
from tests.stack.stack_process import StackProcess, stack_process

pytestmark = [pytest.mark.stack, pytest.mark.shared]

ROLLOUT = {
    "deployment": "web",
    "replicas": 2,
    "revision": {
        "provisioner": "local",
        "command": [sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1"],
        "health_check": {"path": "/"},
    },
    "requested_by": "a test",
}


async def deploy(addresses: StackAddresses) -> None:
    temporal = await Client.connect(addresses.temporal_address, data_converter=pydantic_data_converter)
    rollouts = RolloutClient(temporal, signer_of(addresses))
    await rollouts.start(parse_payload(RolloutRequest, ROLLOUT))
    await until_served(addresses)


async def until_served(addresses: StackAddresses) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{addresses.router}/web/") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)


def replica_processes(data_dir: Path) -> set[int | None]:
    files = ReplicaFiles(data_dir / "replicas")
    claims = [files.claim(route) for route in running_replicas(data_dir / "replicas")]
    return {claim.pid for claim in claims if claim is not None}


async def kill_worker(stack: StackProcess) -> None:
    worker = stack.addresses().children["worker"]
    os.kill(worker, signal.SIGKILL)
    await until(lambda: stack.addresses().children.get("worker") not in {None, worker})


async def test_replicas_outlive_the_worker_and_a_killed_stack_and_end_with_a_stopped_one(data_dir: Path) -> None:
    async with stack_process(data_dir) as stack:
        await deploy(await stack.until_ready())
        replicas = replica_processes(data_dir)
        assert len(replicas) == 2

        await kill_worker(stack)
        assert replica_processes(data_dir) == replicas

        await stack.stop(signal.SIGKILL)
        assert replica_processes(data_dir) == replicas

    async with stack_process(data_dir) as stack:
        await until_served(await stack.until_ready())
        assert replica_processes(data_dir) == replicas
        await stack.stop()
        assert replica_processes(data_dir) == set()

    async with stack_process(data_dir) as stack:
        await until_served(await stack.until_ready())
