"""A whole line under measurement: a stack in a directory of its own, and the doors to it."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Unpack

from sqlalchemy import func, select
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from bench.recordable_worker import children_with_recordable_worker
from celadon.client.rollouts import RolloutClient, RolloutEnded
from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.stack.access import signer_of
from celadon.stack.addresses import NAMESPACE, StackAddresses
from celadon.stack.process_counts import ProcessCountChoice
from celadon.stack.stack import Stack
from celadon.table.core.engine import Table
from celadon.table.core.models import Rollout

PATIENCE_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Line:
    """A running stack, and what a bench speaks to it with."""

    stack: Stack
    addresses: StackAddresses
    temporal: Client
    rollouts: RolloutClient
    table: Table

    async def begin(self, request: RolloutRequest) -> str:
        """Start a rollout and wait until green awaits its promotion; return the run's id."""
        run = await self.rollouts.start(request)
        await self.until(request.deployment, RolloutPhase.AWAITING_PROMOTION)
        return run

    async def go_live(self, request: RolloutRequest) -> None:
        """Bring a first revision live, whatever its policy says of promotion."""
        await self.rollouts.start(request)
        if request.policy is not None and not request.policy.auto_promote:
            await self.until(request.deployment, RolloutPhase.AWAITING_PROMOTION)
            await self.rollouts.promote(request.deployment, PromoteCommand(by="bench"))
        await self.end(request.deployment, RolloutOutcome.PROMOTED)

    async def until(self, deployment: str, phase: RolloutPhase) -> None:
        """Wait until the latest rollout of a deployment is in a phase, as the table says: that disturbs no worker.

        Raises:
            TimeoutError: it did not get there in time.

        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := await self._phase(deployment)) is not phase:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the rollout of {deployment} did not become {phase.value}, it is {found}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _phase(self, deployment: str) -> RolloutPhase | None:
        latest = select(Rollout.phase).where(Rollout.deployment == deployment).order_by(Rollout.id.desc()).limit(1)
        async with self.table.transaction() as tx:
            return await tx.scalar(latest)

    async def count(self, phase: RolloutPhase) -> int:
        """Return how many rollouts are in a phase."""
        async with self.table.transaction() as tx:
            found = await tx.scalar(select(func.count()).select_from(Rollout).where(Rollout.phase == phase))
        return found or 0

    async def end(self, deployment: str, expected: RolloutOutcome) -> RolloutEnded:
        """Wait for a rollout's end.

        Raises:
            RuntimeError: it ended in another way than it should.

        """
        ended = await self.rollouts.wait(deployment)
        if ended.result is None or ended.result.outcome is not expected:
            raise RuntimeError(f"the rollout of {deployment} did not end as {expected.value}: {ended}")
        return ended

    async def history(self, deployment: str) -> Sequence[HistoryEvent]:
        """Return the history of a deployment's latest rollout."""
        return (await self.temporal.get_workflow_handle(workflow_id(deployment)).fetch_history()).events


@asynccontextmanager
async def running_line(**shape: Unpack[ProcessCountChoice]) -> AsyncIterator[Line]:
    """Run a stack in a new directory, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="celadon-bench-") as directory:
        # Root's Postgres runs as another user, who must get through.
        Path(directory).chmod(0o711)
        stack = Stack(Path(directory) / "stack", describe=children_with_recordable_worker, **shape)
        async with opened_line(stack) as line:
            yield line


@asynccontextmanager
async def opened_line(stack: Stack) -> AsyncIterator[Line]:
    """Run a stack and connect to it."""
    async with stack:
        addresses = stack.addresses
        temporal = await Client.connect(
            addresses.temporal_address,
            namespace=NAMESPACE,
            data_converter=pydantic_data_converter,
        )
        async with Table(addresses.database_url, "celadon-bench", pool_size=2) as table:
            yield Line(stack, addresses, temporal, RolloutClient(temporal, signer_of(addresses)), table)


def rollout_request(deployment: str, replicas: int, revision: dict[str, Any], **policy: object) -> RolloutRequest:
    """Return a request as a deployment file would say it."""
    return parse_payload(
        RolloutRequest,
        {
            "deployment": deployment,
            "replicas": replicas,
            "revision": revision,
            "policy": policy,
            "requested_by": "bench",
        },
    )


def model_server(label: str, *options: str) -> dict[str, Any]:
    """Return a revision of the demonstration's model servers, which start fast and are probed often."""
    server = [sys.executable, "-P", "-m", "celadon.stack.demo.model_server"]
    return {
        "command": [*server, "--port", "{port}", "--revision-label", label, *options],
        "health_check": {"path": "/health", "interval": "200ms"},
    }
