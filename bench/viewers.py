"""How long an abort takes beside one viewer that asks as hard as its limits allow, at thousands of deployments.

The API is a process of its own, on a real table, with a real Temporal server and a worker; the rollouts that are
aborted have no replicas and no routers, so an abort is what the API, the worker and Temporal take. Each kind of viewer
is one caller. Every abort is of another caller, and is measured alone and beside the viewer in one run, block by block.

    python -m bench.viewers --deployments 5000 --aborts 30
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
from sqlalchemy import text
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.rollout import RolloutActivities
from bench.figures import spread
from bench.line import PATIENCE_SECONDS, rollout_request
from bench.report import Cell, Grid, run_bench
from bench.time_skipping import time_skipping_temporal
from celadon.client.rollouts import RolloutClient
from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.contracts import TASK_QUEUE, workflow_id
from celadon.domain.language.permissions import Role
from celadon.stack.environment import python_environment
from celadon.stack.ports import address, choose_ports
from celadon.stack.postgres import running_postgres
from celadon.table.access.tokens import NewToken, create_token
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from celadon.table.core.migrate import upgrade
from worker.registration import WORKFLOWS, workflow_runner

SEED: Final = "seed"
HANDS: Final = 8
"""Requests that a viewer has open at the same time."""

BUSIEST_QUERY: Final = """{ deployments(first: 100) { edges { node {
    name phase waitsFor rollout { id policy phase outcomeReason }
    rollouts(first: 5) { edges { node { id phase outcome policy } } }
    events(first: 5) { edges { node { id kind actor evidence } } }
    revisions(first: 5) { edges { node { number content } } }
} } } }"""

_COPIES: Final = (
    """
    insert into deployments (name, replicas, epoch, lifecycle, policy)
    select 'd' || lpad(n::text, 5, '0'), replicas, epoch, lifecycle, policy
    from deployments, generate_series(1, :count) n where name = :seed
    """,
    """
    insert into revisions (deployment, number, digest, content)
    select 'd' || lpad(n::text, 5, '0'), number, digest, content
    from revisions, generate_series(1, :count) n where deployment = :seed
    """,
    """
    insert into rollouts (deployment, workflow_id, run_id, to_revision, replicas, policy, gated, requested_by, reason,
        phase, phase_since, started_at, outcome, outcome_reason, completed_at)
    select 'd' || lpad(n::text, 5, '0'), 'w' || n, m::text, to_revision, replicas, policy, gated, requested_by, reason,
        phase, now(), now(), 'aborted', 'copied', now()
    from rollouts, generate_series(1, :count) n, generate_series(1, 5) m where deployment = :seed
    """,
    """
    insert into rollout_events (deployment, rollout, kind, actor)
    select deployment, id, kind, 'bench' from rollouts, (values ('started'), ('ended')) kinds(kind)
    where deployment <> :seed
    """,
    "analyze",
)


@dataclass
class _Viewer:
    """What a viewer got."""

    answers: int = 0
    refused: int = 0
    mebibytes: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)

    def take(self, status: int, size: int) -> None:
        self.answers += status == HTTPStatus.OK
        self.refused += status == HTTPStatus.TOO_MANY_REQUESTS
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.mebibytes += size / 2**20


View = Callable[[aiohttp.ClientSession, str, _Viewer], Coroutine[None, None, None]]


async def _view_lists(http: aiohttp.ClientSession, url: str, seen: _Viewer) -> None:
    """Page through all deployments, again and again."""
    after = ""
    while True:
        async with http.get(f"{url}/v1/deployments?limit=200&after={after}") as answer:
            body = await answer.read()
            seen.take(answer.status, len(body))
            if answer.status == HTTPStatus.OK:
                after = (await answer.json())["next_after"] or ""
            else:
                await asyncio.sleep(0.05)


async def _view_graphql(http: aiohttp.ClientSession, url: str, seen: _Viewer) -> None:
    """Send a query of the highest cost that is let through, again and again."""
    while True:
        async with http.post(f"{url}/graphql", json={"query": BUSIEST_QUERY}) as answer:
            body = await answer.read()
            if b'"QUERY_TOO' in body:
                raise RuntimeError(body[:500].decode())
            is_whole = answer.status == HTTPStatus.OK and b'"errors"' not in body
            seen.take(HTTPStatus.OK if is_whole else HTTPStatus.TOO_MANY_REQUESTS, len(body))
            if not is_whole:
                await asyncio.sleep(0.05)


async def _view_streams(http: aiohttp.ClientSession, url: str, seen: _Viewer) -> None:
    """Follow all deployments from the beginning, in as many streams as a caller may have."""
    while True:
        async with http.get(f"{url}/v1/stream", headers={"last-event-id": "0"}) as answer:
            if answer.status != HTTPStatus.OK:
                seen.take(answer.status, 0)
                await asyncio.sleep(1)
                continue
            async for chunk in answer.content.iter_any():
                seen.take(answer.status, len(chunk))


VIEWERS: Final[dict[str, tuple[View, int]]] = {
    "lists": (_view_lists, HANDS),
    "graphql": (_view_graphql, HANDS),
    "streams": (_view_streams, 20),
}


class _Aborts:
    """Starts rollouts and measures how long their abort takes."""

    def __init__(self, temporal: Client, table: Table, http: aiohttp.ClientSession, url: str) -> None:
        self._temporal = temporal
        self._rollouts = RolloutClient(temporal)
        self._table = table
        self._http = http
        self._url = url
        self._count = 0

    async def measure(self, count: int, before: Callable[[], Awaitable[None]]) -> list[float]:
        """Start rollouts, do what comes before, and return how long each abort took, in milliseconds."""
        names = [f"a{self._count + number}" for number in range(count)]
        self._count += count
        for name in names:
            await self.begin(name)
        await before()
        taken: list[float] = []
        for name in names:
            began = time.monotonic()
            async with self._http.post(f"{self._url}/v1/deployments/{name}/abort", json={}) as answer:
                body = await answer.read()
            taken.append((time.monotonic() - began) * 1000)
            if answer.status != HTTPStatus.OK:
                raise RuntimeError(f"the abort was answered {answer.status}: {body.decode()}")
        for name in names:
            # Nobody keeps its replicas, so it would drain until the end of the bench.
            await self._temporal.get_workflow_handle(workflow_id(name)).terminate("it was measured")
        return taken

    async def begin(self, name: str) -> None:
        revision = {"provisioner": "static", "endpoints": ["192.0.2.1:80"], "health_check": {"tcp": True}}
        await self._rollouts.start(rollout_request(name, 1, revision))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not await self._is_open(name):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the rollout of {name} has not opened its green")
            await asyncio.sleep(0.02)

    async def _is_open(self, name: str) -> bool:
        async with self._table.transaction() as tx:
            found = await tx.scalar(
                text("select count(*) from rollouts where deployment = :name and green_set is not null"),
                {"name": name},
            )
        return bool(found)


@asynccontextmanager
async def _running_api(database_url: str, temporal: str) -> AsyncIterator[str]:
    where = address(choose_ports(("api",), {})["api"])
    environment = python_environment(
        {
            "DATABASE_URL": database_url,
            "TEMPORAL_ADDRESS": temporal,
            "CELADON_API_ADDRESS": where,
        },
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "celadon.cli.main", "api"),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _until_ready(f"http://{where}/readyz")
        yield f"http://{where}"
    finally:
        process.terminate()
        await process.wait()


async def _until_ready(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < deadline:
            try:
                async with http.get(url) as answer:
                    if answer.status == HTTPStatus.OK:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise TimeoutError(f"{url} is not ready")


def _caller(token: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"authorization": f"Bearer {token}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
    )


async def _token(table: Table, name: str, role: Role) -> str:
    async with table.transaction() as tx:
        _, token = await create_token(tx, NewToken(name=name, roles=(role,), scope={}, created_by="bench"))
    return token


@asynccontextmanager
async def _viewing(view: View, hands: int, http: aiohttp.ClientSession, url: str, seen: _Viewer) -> AsyncIterator[None]:
    viewing = [asyncio.create_task(view(http, url, seen)) for _ in range(hands)]
    try:
        yield
        failed = [task for task in viewing if task.done()]
        for task in failed:
            await task
    finally:
        for task in viewing:
            task.cancel()
        await asyncio.gather(*viewing, return_exceptions=True)


async def measure_at(
    table: Table,
    aborts: _Aborts,
    url: str,
    count: int,
    blocks: int,
) -> tuple[Grid, Grid]:
    """Measure aborts alone and beside each kind of viewer, in alternating blocks."""
    rows: list[dict[str, Cell]] = []
    got: list[dict[str, Cell]] = []
    for kind, (view, hands) in VIEWERS.items():
        seen = _Viewer()
        alone: list[float] = []
        beside: list[float] = []
        began = time.monotonic()
        watched = 0.0
        async with _caller(await _token(table, f"viewer-{kind}", Role.VIEWER)) as http:
            for _ in range(blocks):
                alone += await aborts.measure(count // blocks, _nothing)
                async with AsyncExitStack() as held:

                    async def view_now(held: AsyncExitStack = held) -> None:
                        await held.enter_async_context(_viewing(view, hands, http, url, seen))  # noqa: B023 - called here
                        await asyncio.sleep(1)

                    began = time.monotonic()
                    beside += await aborts.measure(count // blocks, view_now)
                    watched += time.monotonic() - began
        usual, under = spread(alone), spread(beside)
        rows += [
            {"viewer": "none", "aborts": len(alone), **usual, "median, of alone": 1.0},
            {
                "viewer": kind,
                "aborts": len(beside),
                **under,
                "median, of alone": round(float(under["median ms"]) / float(usual["median ms"]), 2),
            },
        ]
        got.append(
            {
                "viewer": kind,
                "answers": seen.answers,
                "refused": seen.refused,
                "MiB a second": round(seen.mebibytes / watched, 2),
            },
        )
    return (
        Grid(title="An abort's answer, alone and beside one viewer", rows=tuple(rows)),
        Grid(title="What the viewer got meanwhile", rows=tuple(got)),
    )


async def _nothing() -> None:
    """Come before aborts that are measured alone."""


async def measure_on(
    database_url: str,
    temporal: WorkflowEnvironment,
    deployments: int,
    aborts: int,
    blocks: int,
) -> list[Grid]:
    """Measure in a migrated database."""
    async with (
        Table(database_url, "celadon-worker") as table,
        Listener(database_url, "celadon-worker-listener") as listener,
        Worker(
            temporal.client,
            task_queue=TASK_QUEUE,
            workflows=WORKFLOWS,
            activities=RolloutActivities(table, listener, Authority(unsigned=Unsigned.ALL)).all(),
            workflow_runner=workflow_runner(),
        ),
        _running_api(database_url, temporal.client.service_client.config.target_host) as url,
        _caller(await _token(table, "ann", Role.ADMIN)) as http,
    ):
        measured = _Aborts(temporal.client, table, http, url)
        await measured.begin(SEED)
        async with table.transaction() as tx:
            await tx.execute(text("set local statement_timeout = 0"))
            for statement in _COPIES:
                await tx.execute(text(statement), {"seed": SEED, "count": deployments})
        # The first answers of every process are slower.
        await measured.measure(blocks, _nothing)
        return list(await measure_at(table, measured, url, aborts, blocks))


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure on servers of its own, in a directory that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="celadon-bench-") as directory:
        # Root's Postgres runs as another user, who must get through.
        Path(directory).chmod(0o711)
        async with running_postgres(Path(directory)) as database_url, time_skipping_temporal() as temporal:
            await upgrade(database_url)
            return await measure_on(database_url, temporal, chosen.deployments, chosen.aborts, chosen.blocks)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--deployments", type=int, default=5000)
    parser.add_argument("--aborts", type=int, default=40, help="of each kind, alone and beside the viewer")
    parser.add_argument("--blocks", type=int, default=4)


if __name__ == "__main__":
    run_bench("viewers", __doc__, declare, measure)
