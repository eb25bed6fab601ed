"""The worker of bare workflows, with the settings of a rollout's worker.

    CELADON_BENCH_REPLAY=FILE python -m bench.bare_worker

With a recording and a database (``DATABASE_URL``), its activities can send the statements of rollouts.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg
from sqlalchemy import make_url
from temporalio import activity
from temporalio.worker import Worker

from bench.bare import QUEUE, SEND_STATEMENTS, Bare, Part, nothing
from bench.replay import Recording, Replayer
from celadon.client.connection import connect
from celadon.stopping import stop_signal
from worker.process import HEARTBEAT_THROTTLE, STICKY_TIMEOUT
from worker.registration import workflow_runner
from worker.settings import WorkerSettings

REPLAY_VARIABLE: Final = "CELADON_BENCH_REPLAY"
DEPLOYMENTS_VARIABLE: Final = "CELADON_BENCH_DEPLOYMENTS"
"""How many deployments there are, of which the first is ``bare-0``."""

_CONNECTIONS: Final = 20
"""As many as a worker has for its activities and its keeper."""


def deployment_name(number: int) -> str:
    """Return the name of one of the deployments of bare workflows."""
    return f"bare-{number}"


class _Sender:
    """The activity that sends statements."""

    def __init__(self, replayer: Replayer) -> None:
        self._replayer = replayer

    @activity.defn(name=SEND_STATEMENTS)
    async def send(self, part: Part) -> None:
        """Send a part of a rollout's statements."""
        await self._replayer.send(part.deployment, part.part, part.parts)


@asynccontextmanager
async def _sender(database_url: str) -> AsyncIterator[_Sender]:
    url = make_url(database_url)
    async with asyncpg.create_pool(
        host=str(url.query["host"]),
        port=int(str(url.query["port"])),
        user=url.username,
        database=url.database,
        min_size=_CONNECTIONS,
        max_size=_CONNECTIONS,
    ) as pool:
        replayer = Replayer(Recording.read(Path(os.environ[REPLAY_VARIABLE])), pool)
        await replayer.prepare([deployment_name(number) for number in range(int(os.environ[DEPLOYMENTS_VARIABLE]))])
        yield _Sender(replayer)


async def _work() -> None:
    settings = WorkerSettings()
    client = await connect(patience=settings.temporal_patience)
    with stop_signal() as stop:
        async with (
            _sender(settings.database_url) as sender,
            Worker(
                client,
                task_queue=QUEUE,
                workflows=[Bare],
                activities=[nothing, sender.send],
                workflow_runner=workflow_runner(),
                max_cached_workflows=settings.max_cached_workflows,
                sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
                max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            ),
        ):
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(_work())
