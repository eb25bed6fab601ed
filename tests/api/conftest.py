"""A running API over HTTP, on a real table, a real Temporal server and a real worker's activities."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.ask import AskActivities
from activities.heartbeats import Heartbeats
from activities.own_workflows import OwnWorkflowsOnly
from activities.rollout import RolloutActivities
from celadon.api.process import api_of, limits_of, listening_on, serve
from celadon.api.settings import ApiSettings
from celadon.api.times import ApiTimes
from celadon.client.signatures import AuthoritySettings, make_key_pair
from celadon.domain.decisions.authority import Unsigned
from celadon.domain.language.contracts import TASK_QUEUE
from celadon.domain.language.permissions import Role
from celadon.gateway.addresses import SocketAddress
from celadon.host_settings import HostSettings
from celadon.table.access.tokens import NewToken, create_token
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from tests.table.rows import Rows
from tests.workers import PATIENT_TASKS, running
from worker.registration import WORKFLOWS, workflow_runner

DEADLINE_SECONDS = 30.0

PATIENT: Final = ApiTimes(workflow_task=PATIENT_TASKS, key_fetch=timedelta(seconds=60))
"""The times of an API of tests, which may be on a machine that stands still for a while."""


class Answer:
    """What the API answered."""

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """Return the code of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self.text
        code: str = self.json["code"]
        return code


class ApiClient:
    """Calls a running API."""

    def __init__(self, url: str, session: aiohttp.ClientSession, table: Table) -> None:
        self.url = url
        self.session = session
        self.table = table
        self._tokens: dict[tuple[Any, ...], str] = {}

    async def token(self, *roles: Role, **scope: str) -> str:
        """Return a token with these roles."""
        key = (roles, tuple(sorted(scope.items())))
        if key not in self._tokens:
            wanted = NewToken(name=self.name_of(*roles, **scope), roles=roles, scope=scope, created_by="tests")
            async with self.table.transaction() as tx:
                _, self._tokens[key] = await create_token(tx, wanted)
        return self._tokens[key]

    @staticmethod
    def name_of(*roles: Role, **scope: str) -> str:
        """Return how the caller with these roles is named."""
        return "+".join([*(role.value for role in roles), *(f"{name}={value}" for name, value in scope.items())])

    async def call(
        self,
        method: str,
        path: str,
        *roles: Role,
        body: object = None,
        token: str | None = None,
        scope: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one request, as a caller with these roles or with a token; without either as nobody."""
        sent = dict(headers or {})
        if token is None and roles:
            token = await self.token(*roles, **(scope or {}))
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            self.session.request(method, f"{self.url}{path}", json=body, headers=sent) as answer,
        ):
            return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.text())

    @staticmethod
    async def until(found: Callable[[], Awaitable[object]]) -> None:
        """Wait until something is found; the caller has the deadline."""
        while True:
            if await found():
                return
            await asyncio.sleep(0.05)

    async def graphql(self, query: str, *roles: Role, scope: Mapping[str, str] | None = None, **variables: Any) -> Any:
        """Send a query; return the whole answer."""
        body = {"query": query, "variables": variables}
        answer = await self.call("POST", "/graphql", *(roles or (Role.ADMIN,)), body=body, scope=scope)
        assert answer.status == 200, answer.text
        return answer.json

    async def data(self, query: str, *roles: Role, **variables: Any) -> Any:
        """Send a query that must succeed; return its data."""
        answer = await self.graphql(query, *roles, **variables)
        assert "errors" not in answer, answer
        return answer["data"]


@asynccontextmanager
async def running_api(
    table: Table, environment: WorkflowEnvironment, times: ApiTimes = PATIENT, **settings: Any
) -> AsyncIterator[ApiClient]:
    """Serve the API on loopback until the block ends."""
    chosen = ApiSettings(database_url=table.database_url, **settings)
    stop = asyncio.Event()
    async with (
        Listener(table.database_url, "celadon-tests-api") as listener,
        aiohttp.ClientSession() as session,
    ):
        app = api_of(chosen, table, listener, environment.client, times)
        with await listening_on(SocketAddress.model_construct(host="127.0.0.1", port=0)) as listening:
            serving = asyncio.create_task(serve(app, listening, stop, limits_of(chosen, times)))
            try:
                yield ApiClient(f"http://127.0.0.1:{listening.getsockname()[1]}", session, table)
            finally:
                stop.set()
                await serving


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a pair of keys."""
    directory = tmp_path_factory.mktemp("keys")
    make_key_pair(directory / "key.pem", directory / "key.pub")
    return directory


GENEROUS: Mapping[str, Any] = {
    "api_requests_per_second": 10_000,
    "api_burst": 10_000,
    "api_failures_per_minute": 10_000,
}


CLAIMABLE: Final = "*.example.com"
"""What an operator of tests lets deployments claim."""


@pytest_asyncio.fixture(loop_scope="session")
async def api(
    table: Table, temporal_env: WorkflowEnvironment, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ApiClient]:
    """Run the API, and a worker that registers rollouts; nobody keeps replicas, so none gets further."""
    authority = AuthoritySettings(verify_keys_file=keys / "key.pub", unsigned=Unsigned.NONE).authority()
    monkeypatch.setenv("CELADON_HOSTS", CLAIMABLE)
    claimable = HostSettings().claimable
    async with (
        Listener(table.database_url, "celadon-tests-worker") as listener,
        running_api(table, temporal_env, signing_key_file=keys / "key.pem", **GENEROUS) as client,
    ):
        worker = Worker(
            temporal_env.client,
            task_queue=TASK_QUEUE,
            workflows=WORKFLOWS,
            activities=[
                *RolloutActivities(table, listener, authority, claimable).all(),
                *AskActivities(table, temporal_env.client, authority, claimable, PATIENT_TASKS).all(),
            ],
            workflow_runner=workflow_runner(),
            interceptors=[OwnWorkflowsOnly(), Heartbeats()],
        )
        # First the worker: with steps of terminated workflows the SDK's worker has ended never.
        async with running(worker):
            yield client
        await _end_workflows(temporal_env, await _names(table))


@pytest_asyncio.fixture(loop_scope="session")
async def rows(table: Table) -> Rows:
    """Return an empty table with a keeper that lives."""
    return await Rows.with_keeper(table)


async def _names(table: Table) -> list[str]:
    rows = await Rows(table, None).rows("select workflow_id from rollouts where outcome is null")  # type: ignore[arg-type]
    return [row["workflow_id"] for row in rows]


async def _end_workflows(environment: WorkflowEnvironment, names: Iterable[str]) -> None:
    """Terminate what a test has left running, so that the next one may use the same names."""
    from temporalio.service import RPCError, RPCStatusCode  # noqa: PLC0415 - only here

    for name in names:
        try:
            await environment.client.get_workflow_handle(name).terminate("the test is over")
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
