"""The worker's process: a Temporal worker, the keeper, the courier, a metrics endpoint, and an orderly end."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import start_http_server
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.ask import AskActivities
from activities.heartbeats import Heartbeats
from activities.metrics import CountedSteps, StepMetrics
from activities.own_workflows import OwnWorkflowsOnly
from activities.rollout import RolloutActivities
from celadon.client.connection import connect
from celadon.client.search_attributes import register_search_attributes
from celadon.client.signatures import AuthoritySettings
from celadon.domain.language.contracts import TASK_QUEUE
from celadon.host_settings import HostSettings
from celadon.keeper.keeper import Keeper
from celadon.notifications.courier import Courier
from celadon.stopping import stop_signal
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from celadon.table.core.startup import usable_or_stopped
from celadon.table.core.trouble_log import TroubleLog
from worker.keeping import keeper_of
from worker.notifying import courier_of
from worker.registration import WORKFLOWS, workflow_runner
from worker.settings import WorkerSettings

STICKY_TIMEOUT: Final = timedelta(milliseconds=500)
"""How long Temporal waits for a worker that holds a rollout in memory before it asks another."""

COURIER_CONNECTIONS: Final = 2

HEARTBEAT_THROTTLE: Final = timedelta(milliseconds=300)
"""Heartbeats that come sooner after another are not sent; less than a third of the shortest heartbeat timeout."""

LAST_WAIT: Final = timedelta(seconds=5)
"""How long a worker may take to end once its steps have had their time."""

WORKFLOW_TASKS_AT_ONCE: Final = 8
"""Each is given up after ``WORKFLOW_TASK_TIMEOUT``, counted from when it was taken: so none is taken that would wait
for many others here. More would not end sooner, since Python works on one after the other."""

log = structlog.get_logger()


async def run_worker(settings: WorkerSettings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        TemporalUnreachableError: Temporal did not answer in time.
        ValidationError: a variable of the environment is missing or wrong.
        OSError: an address or directory cannot be used.
        DatabaseRefusedError: the database cannot serve Celadon.

    """
    with stop_signal() as stop:
        await _work_until(stop, settings)
    log.info("worker_stopped")


async def _work_until(stop: asyncio.Event, settings: WorkerSettings) -> None:
    host, _, port = settings.metrics_address.rpartition(":")
    trust = AuthoritySettings()
    authority, risks = trust.authority(), trust.risks()
    claimable = HostSettings().claimable
    if not await usable_or_stopped(settings.database_url, stop, TroubleLog("table_not_usable")):
        return
    client = await connect(patience=settings.temporal_patience)
    await _register(client)
    async with (
        Table(settings.database_url, "celadon-worker") as table,
        # A step never queues for a connection behind the keeper's writes, of which many replicas bring many at once.
        Table(settings.database_url, "celadon-keeper") as keeper_table,
        # Notifications take no connection away from rollouts.
        Table(settings.database_url, "celadon-worker-notifications", pool_size=COURIER_CONNECTIONS) as courier_table,
        Listener(settings.database_url, "celadon-worker-listener") as listener,
    ):
        keeper = keeper_of(keeper_table, listener, client, risks)
        courier = courier_of(courier_table, listener, client)
        worker = Worker(
            client,
            task_queue=TASK_QUEUE,
            workflows=WORKFLOWS,
            activities=[
                *RolloutActivities(table, listener, authority, claimable).all(),
                *AskActivities(table, client, authority, claimable).all(),
            ],
            interceptors=[OwnWorkflowsOnly(), Heartbeats(), CountedSteps(StepMetrics())],
            workflow_runner=workflow_runner(),
            max_cached_workflows=settings.max_cached_workflows,
            max_concurrent_workflow_tasks=WORKFLOW_TASKS_AT_ONCE,
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            graceful_shutdown_timeout=settings.graceful_shutdown,
        )
        server, thread = start_http_server(int(port), addr=host)
        try:
            log.info("worker_started", task_queue=TASK_QUEUE, metrics=settings.metrics_address)
            async with ends_within(worker, settings.graceful_shutdown + LAST_WAIT):
                await _keep_until(stop, keeper, courier, stop_replicas=settings.stop_replicas_on_exit)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@asynccontextmanager
async def ends_within(worker: AbstractAsyncContextManager[object], patience: timedelta) -> AsyncIterator[None]:
    """Run a Temporal worker around the block, and wait for its end after that no longer than ``patience``.

    Temporal's SDK can wait for ever for a step whose rollout was terminated while the worker stopped. All steps bear
    another attempt, so the process may end without it.
    """
    await worker.__aenter__()
    try:
        yield
    finally:
        try:
            async with asyncio.timeout(patience.total_seconds()):
                await worker.__aexit__(*sys.exc_info())
        except TimeoutError:
            log.warning("worker_not_ended", waited_seconds=patience.total_seconds())


async def _keep_until(stop: asyncio.Event, keeper: Keeper, courier: Courier, *, stop_replicas: bool) -> None:
    """Run keeper and courier until the stop is wanted and both have ended; one that fails ends the process."""
    keeping = asyncio.create_task(keeper.run(), name="keeper")
    notifying = asyncio.create_task(courier.run(), name="courier")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({keeping, notifying, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    log.info("worker_stops")
    keeper.stop(stop_replicas=stop_replicas)
    courier.stop()
    await asyncio.gather(keeping, notifying)


async def _register(client: Client) -> None:
    """Register search attributes; where the namespace's owner forbids it, rollouts say what is missing."""
    try:
        missing = await register_search_attributes(client)
    except RPCError as error:
        log.warning("search_attributes_not_registered", error=error.message)
        return
    if missing:
        log.info("search_attributes_registered", names=missing)
