"""What a rollout costs Temporal at 1, 10 and 100 replicas, after a short wait and after days: always the same.

The worker's own workflow, activities and keeper run on a Temporal server that can skip time, so that days pass at
once. The replicas are endpoints of one small server.

    python -m bench.events --replicas 1 10 100
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.rollout import RolloutActivities
from bench.endpoints import endpoints
from bench.line import PATIENCE_SECONDS, rollout_request
from bench.report import Cell, Grid, run_bench
from bench.time_skipping import time_skipping_temporal
from celadon.client.rollouts import RolloutClient
from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.contracts import TASK_QUEUE, workflow_id
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.revision import Provisioner
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.keeper.keeper import Keeper
from celadon.keeper.metrics import KeeperMetrics
from celadon.provisioners.static import StaticProvisioner
from celadon.stack.demo.history import billable_actions
from celadon.stack.postgres import running_postgres
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from celadon.table.core.migrate import upgrade
from worker.registration import WORKFLOWS, workflow_runner
from worker.temporal_signals import TemporalSignals

NAME: Final = "counted"
SHORT: Final = timedelta(seconds=2)
LONG: Final = timedelta(days=6)
"""Twice, for the delay and for the bake: a rollout of 14 days would go on in a second run, whose history is another."""

_OF_TIME_SKIPPING: Final = ("TIME_SKIPPING_TRANSITIONED", "OPTIONS_UPDATED")
"""Events that only a server writes which skips time."""

_TASKS: Final = "EVENT_TYPE_WORKFLOW_TASK_"


class _Rollouts:
    """Rollouts on a line without routers, whose time can be skipped."""

    def __init__(self, temporal: WorkflowEnvironment) -> None:
        self._temporal = temporal
        self._client = RolloutClient(temporal.client)

    async def run(self, request: RolloutRequest, skipped: timedelta | None = None) -> Sequence[HistoryEvent]:
        """Run a rollout to its end; of its delay and of its bake so much is skipped, else they really pass."""
        name = request.deployment
        await self._client.start(request)
        handle = self._temporal.client.get_workflow_handle(workflow_id(name))
        if skipped is not None:
            for phase in (RolloutPhase.AWAITING_PROMOTION, RolloutPhase.BAKING):
                await self._skip(name, phase, skipped)
        ended = await self._client.wait(name)
        if ended.result is None or ended.result.outcome is not RolloutOutcome.PROMOTED:
            raise RuntimeError(f"the rollout was not promoted: {ended}")
        return (await handle.fetch_history()).events

    async def _skip(self, name: str, phase: RolloutPhase, skipped: timedelta) -> None:
        """Skip a phase's wait, unless it is over: on a busy machine one call to skip may skip the next wait too."""
        if not await self._until(name, phase):
            return
        await self._until_idle(name)
        try:
            await self._temporal.fast_forward(self._temporal.client.get_workflow_handle(workflow_id(name)), skipped)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def _until(self, name: str, phase: RolloutPhase) -> bool:
        """Wait for a phase; false when the rollout has ended before it was seen in it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (status := await self._client.status(name)).phase is not phase:
            if status.outcome is not None:
                return False
            if time.monotonic() > deadline:
                raise TimeoutError(f"the rollout of {name} did not become {phase.value}")
            await asyncio.sleep(0.02)
        return True

    async def _until_idle(self, name: str) -> None:
        """Wait until nothing but its timer is left."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        handle = self._temporal.client.get_workflow_handle(workflow_id(name))
        while True:
            raw = (await handle.describe()).raw_description
            if not raw.pending_activities and not raw.HasField("pending_workflow_task"):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the rollout of {name} still has a step in flight")
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _running_rollouts(database_url: str, temporal: WorkflowEnvironment) -> AsyncIterator[_Rollouts]:
    """Run what a worker runs, in this process."""
    async with (
        Table(database_url, "celadon-worker") as table,
        Table(database_url, "celadon-keeper") as keeper_table,
        Listener(database_url, "celadon-worker-listener") as listener,
        Worker(
            temporal.client,
            task_queue=TASK_QUEUE,
            workflows=WORKFLOWS,
            activities=RolloutActivities(table, listener, Authority(unsigned=Unsigned.ALL)).all(),
            workflow_runner=workflow_runner(),
            max_heartbeat_throttle_interval=timedelta(seconds=1),
        ),
    ):
        door = TemporalSignals(temporal.client)
        keeper = Keeper(
            table=keeper_table,
            listener=listener,
            provisioners={Provisioner.STATIC: StaticProvisioner()},
            signaller=door,
            workflows=door,
            starter=door,
            metrics=KeeperMetrics(CollectorRegistry()),
            holder="bench",
        )
        keeping = asyncio.create_task(keeper.run())
        try:
            yield _Rollouts(temporal)
        finally:
            keeper.stop()
            await keeping


def _request(name: str, addresses: Sequence[str], interval: str, waits: timedelta) -> RolloutRequest:
    revision = {
        "provisioner": "static",
        "endpoints": list(addresses),
        "health_check": {"tcp": True, "interval": interval},
    }
    policy = {"auto_promote": True, "promote_after": f"{waits.total_seconds():g}s"} if waits else {}
    return rollout_request(
        name,
        len(addresses),
        revision,
        bake=f"{waits.total_seconds():g}s",
        # Without a router blue is kept for both of them, in real time.
        drain_timeout="0s",
        router_ack_timeout="100ms",
        **policy,
    )


async def measure_on(database_url: str, temporal: WorkflowEnvironment, sizes: Sequence[int]) -> list[Grid]:
    """Measure in a migrated database, on a server that skips time."""
    rows: list[dict[str, Cell]] = []
    async with _running_rollouts(database_url, temporal) as rollouts:
        for replicas in sizes:
            for waits in (SHORT, LONG):
                async with endpoints(replicas) as addresses:
                    name = f"{NAME}-{replicas}-{waits.total_seconds():.0f}"
                    await rollouts.run(_request(name, addresses, "1s", timedelta(0)))
                    # A wait of seconds would be over on a busy machine before it could be skipped.
                    skipped = waits if waits > SHORT else None
                    events = await rollouts.run(_request(name, addresses, "2s", waits), skipped)
                rows.append({"replicas": replicas, "delay and bake, each": str(waits), **_count(events)})
    return [Grid(title="One rollout, promoted by its timer, baked and drained", rows=tuple(rows))]


def _count(events: Sequence[HistoryEvent]) -> dict[str, Cell]:
    names = [EventType.Name(event.event_type) for event in events]
    kept = [name for name in names if not name.endswith(_OF_TIME_SKIPPING)]
    kinds = Counter(name.removeprefix("EVENT_TYPE_") for name in kept)
    return {
        "events": len(kept),
        "of them not of workflow tasks": sum(not name.startswith(_TASKS) for name in kept),
        "activities": kinds["ACTIVITY_TASK_SCHEDULED"],
        "timers": kinds["TIMER_STARTED"],
        "signals": kinds["WORKFLOW_EXECUTION_SIGNALED"],
        "billable actions": billable_actions(events),
    }


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure on servers of its own, in a directory that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="celadon-bench-") as directory:
        # Root's Postgres runs as another user, who must get through.
        Path(directory).chmod(0o711)
        async with running_postgres(Path(directory)) as url, time_skipping_temporal() as temporal:
            await upgrade(url)
            return await measure_on(url, temporal, chosen.replicas)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 10, 100])


if __name__ == "__main__":
    run_bench("events", __doc__, declare, measure)
