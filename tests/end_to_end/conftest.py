"""A whole local stack, and one deployment on it as an operator sees it."""

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import psutil
import pytest
import pytest_asyncio
from sqlalchemy import select
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from celadon.client.patience import CouldNotAnswerError, NoAnswerError
from celadon.client.rollouts import RolloutClient, RolloutEnded
from celadon.domain.language.commands import PromoteAnswer, PromoteCommand
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.messages import RolloutRequest, RolloutStatus
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.states import RolloutPhase, RouteSetState
from celadon.stack.access import signer_of
from celadon.stack.addresses import StackAddresses
from celadon.table.core.engine import Table
from celadon.table.core.models import Deployment, Rollout, Route, RouteSet
from tests.stack.shared_stack import shared_stack

DEADLINE_SECONDS = 120.0
AnswerT = TypeVar("AnswerT")

FAST_CHECK = {"path": "/health", "interval": "200ms", "timeout": "5s"}


def model_server(label: str, *arguments: str) -> list[str]:
    """Return the command of a replica that answers as revision ``label``."""
    server = [sys.executable, "-P", "-m", "celadon.stack.demo.model_server"]
    return [*server, "--port", "{port}", "--revision-label", label, *arguments]


class PatientRollouts(RolloutClient):
    """Rollouts as somebody asks for them who asks again when a busy machine was late with an answer."""

    async def status(self, deployment: str, **choices: Any) -> RolloutStatus:
        """Ask for the status, with a deadline for all attempts."""
        return await self._again(lambda: RolloutClient.status(self, deployment, **choices))

    async def promote(self, deployment: str, command: PromoteCommand, **choices: Any) -> PromoteAnswer:
        """Promote; once more where no keeper vouched for green, whose lease a busy machine lets expire."""
        return await self._again(lambda: RolloutClient.promote(self, deployment, command, **choices))

    async def _again(self, ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                return await ask()
            except CouldNotAnswerError:
                raise
            except NoAnswerError:
                if time.monotonic() > deadline:
                    raise
            except RefusedError as error:
                if error.refusal.code is not RefusalCode.KEEPER_SILENT or time.monotonic() > deadline:
                    raise


class LiveDeployment:
    """One deployment of a running stack."""

    def __init__(self, name: str, addresses: StackAddresses, temporal: Client, table: Table) -> None:
        self.name = name
        self.addresses = addresses
        self.table = table
        self.temporal = temporal
        self.rollouts = PatientRollouts(temporal, signer_of(addresses))
        self.handle: WorkflowHandle[Any, Any] = temporal.get_workflow_handle(workflow_id(name))

    def request(self, label: str, *, replicas: int = 2, revision: object = None, **policy: object) -> dict[str, Any]:
        """Return a request as a person would write it into a file."""
        served = revision or {"command": model_server(label), "health_check": FAST_CHECK}
        return {
            "deployment": self.name,
            "replicas": replicas,
            "revision": served,
            # Long enough for whatever a test does meanwhile; a test that waits for their end chooses shorter ones.
            "policy": {"bake": "20m", "drain_timeout": "2m", **policy},
            "requested_by": "ann",
            "reason": f"serve {label}",
        }

    async def start(self, label: str, **choices: Any) -> None:
        """Start a rollout."""
        await self.rollouts.start(parse_payload(RolloutRequest, self.request(label, **choices)))

    async def serve(self, label: str, **choices: Any) -> None:
        """Let a first revision go live."""
        await self.start(label, **choices)
        ended = await self.ended()
        assert ended.status == "completed", ended

    async def wait_for_promotion(self, label: str, **choices: Any) -> RolloutStatus:
        """Bring a rollout to the gate."""
        await self.start(label, **choices)
        return await self.phase(RolloutPhase.AWAITING_PROMOTION)

    async def ended(self) -> RolloutEnded:
        """Wait for the end of the rollout that runs, or ran last."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.rollouts.wait(self.name)

    async def phase(self, phase: RolloutPhase) -> RolloutStatus:
        """Wait until the rollout is in ``phase``."""
        found: list[RolloutStatus] = []

        async def reached() -> bool:
            found[:] = [await self.rollouts.status(self.name)]
            return found[0].phase is phase

        await until(reached, f"{self.name} is {phase}")
        return found[0]

    async def answer(self, path: str = "/v1/models", **headers: str) -> tuple[int, str]:
        """Ask the router; return the status and the revision that answered."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.addresses.router}/{self.name}{path}", headers=headers) as answer,
        ):
            return answer.status, answer.headers.get("x-model-revision", "")

    async def live_revision(self) -> int | None:
        """Return the number of the live revision, by the table."""
        async with self.table.transaction() as tx:
            number: int | None = await tx.scalar(
                select(RouteSet.revision)
                .join(Deployment, Deployment.live_set == RouteSet.id)
                .where(Deployment.name == self.name),
            )
            return number

    async def open_sets(self) -> int:
        """Count the deployment's sets that are open."""
        async with self.table.transaction() as tx:
            rows = await tx.scalars(
                select(RouteSet.id).where(RouteSet.deployment == self.name, RouteSet.state == RouteSetState.OPEN),
            )
            return len(rows.all())

    async def unfinished_routes(self) -> dict[str, int]:
        """Return the ports of replicas that the table holds for unfinished, by route."""
        async with self.table.transaction() as tx:
            rows = await tx.execute(
                select(Route.id, Route.port)
                .join(RouteSet, RouteSet.id == Route.set_id)
                .where(RouteSet.deployment == self.name, Route.ended_at.is_(None)),
            )
            return {str(route): port for route, port in rows}

    async def outcomes(self) -> list[str]:
        """Return how the deployment's rollouts ended, oldest first."""
        async with self.table.transaction() as tx:
            rows = await tx.scalars(select(Rollout.outcome).where(Rollout.deployment == self.name).order_by(Rollout.id))
            return ["unfinished" if outcome is None else outcome.value for outcome in rows]

    async def until_only_live_is_left(self) -> None:
        """Wait until every replica is one of the live set, in the table and among the processes."""

        async def clean() -> bool:
            routes = await self.unfinished_routes()
            return await self.open_sets() <= 1 and replica_routes() >= set(routes) and await self._no_stray(set(routes))

        await until(clean, f"only the live set of {self.name} is left")

    async def _no_stray(self, routes: set[str]) -> bool:
        async with self.table.transaction() as tx:
            known = await tx.scalars(
                select(Route.id).join(RouteSet, RouteSet.id == Route.set_id).where(RouteSet.deployment == self.name),
            )
            return replica_routes() & {str(route) for route in known} == routes


def route_of(process: psutil.Process) -> str | None:
    """Return the route id of a replica's process; nothing for any other process, or one that has ended."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.environ().get("CELADON_ROUTE")
    except psutil.Error:
        return None


def replica_routes() -> set[str]:
    """Return the route ids of all replica processes on this machine."""
    return {route for process in psutil.process_iter() if (route := route_of(process))}


def replica_processes(route: str) -> list[int]:
    """Return the process ids of a replica."""
    return [process.pid for process in psutil.process_iter() if route_of(process) == route]


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {DEADLINE_SECONDS:g} s in vain: {what}")
        await asyncio.sleep(0.1)


async def run(addresses: StackAddresses, *command: str, directory: Path | None = None) -> tuple[int, str, str]:
    """Run a command as a person would who has the stack's environment; return code, output and errors."""
    return await run_in({**os.environ, **addresses.environment}, *command, directory=directory)


async def run_in(environment: Mapping[str, str], *command: str, directory: Path | None = None) -> tuple[int, str, str]:
    """Run a command in an environment; return code, output and errors."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**environment, "NO_COLOR": "1", "COLUMNS": "200", "PATH": path},
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def run_json(addresses: StackAddresses, *command: str) -> Any:
    """Run a command that must succeed and print JSON."""
    code, out, err = await run(addresses, *command)
    assert code == 0, err
    return json.loads(out)


def last_line(lines: str) -> str:
    """Return the last line that says something."""
    said: Sequence[str] = [line for line in lines.splitlines() if line.strip()]
    return said[-1] if said else ""


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StackAddresses]:
    """Use the one stack of all end-to-end tests, whichever process of the run they are in."""
    base = tmp_path_factory.getbasetemp()
    # Each of several processes has a directory of its own in that of the run.
    async with shared_stack(base.parent if PROCESS else base) as addresses:
        yield addresses


PROCESS: Final = os.environ.get("PYTEST_XDIST_WORKER", "")
"""Which of the processes of a run of tests this is; empty where there is one alone."""

_numbers = itertools.count(1)


def own_name(name: str) -> str:
    """Return the name of a deployment that no other process of the run uses; ``name`` is its end."""
    return f"{PROCESS}-{name}" if PROCESS else name


@pytest_asyncio.fixture(loop_scope="session")
async def deployment(stack: StackAddresses) -> AsyncIterator[LiveDeployment]:
    """Return a deployment of its own that does not exist yet."""
    temporal = await Client.connect(stack.temporal_address, data_converter=pydantic_data_converter)
    async with Table(stack.database_url, "celadon-tests", pool_size=2) as table:
        yield LiveDeployment(own_name(f"model{next(_numbers)}"), stack, temporal, table)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def waiting(stack: StackAddresses) -> AsyncIterator[LiveDeployment]:
    """Return a deployment whose second revision waits for a promotion; whoever uses it leaves it so.

    A process that leaves this package for another one, and comes back, begins it anew.
    """
    temporal = await Client.connect(stack.temporal_address, data_converter=pydantic_data_converter)
    async with Table(stack.database_url, "celadon-tests", pool_size=2) as table:
        deployment = LiveDeployment(own_name(f"waiting-{next(_numbers)}"), stack, temporal, table)
        await deployment.serve("r1", replicas=1)
        await deployment.wait_for_promotion("r2", replicas=1)
        yield deployment


@pytest.fixture(autouse=True)
def _end_to_end_takes_longer(request: pytest.FixtureRequest) -> None:
    """Give tests on a whole stack the time that a busy machine needs."""
    request.node.add_marker(pytest.mark.timeout(600))
