"""The worker of bare workflows, with the settings of a rollout's worker: ``python -m bench.bare_worker``."""

import asyncio

from temporalio.worker import Worker

from bench.bare import QUEUE, Bare, nothing
from celadon.client.connection import connect
from celadon.stopping import stop_signal
from worker.process import HEARTBEAT_THROTTLE, STICKY_TIMEOUT
from worker.registration import workflow_runner
from worker.settings import WorkerSettings


async def _work() -> None:
    settings = WorkerSettings()
    client = await connect(patience=settings.temporal_patience)
    with stop_signal() as stop:
        async with Worker(
            client,
            task_queue=QUEUE,
            workflows=[Bare],
            activities=[nothing],
            workflow_runner=workflow_runner(),
            max_cached_workflows=settings.max_cached_workflows,
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        ):
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(_work())
