"""Attacks on the API's purse: a caller that asks for as much as it can, over HTTP, on a real table."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from graphql import get_introspection_query
from sqlalchemy import text
from temporalio.testing import WorkflowEnvironment

from celadon.domain.language.permissions import Role
from celadon.table.core.engine import Table
from tests.api.conftest import DEADLINE_SECONDS, GENEROUS, Answer, ApiClient, running_api
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

MANY = 450
LOCKED = "/v1/deployments/chat/revisions"

_LOCK = text("lock table revisions in access exclusive mode")
"""Holds back whoever lists revisions; labels are given without."""


@pytest_asyncio.fixture(loop_scope="session")
async def api(table: Table, temporal_env: WorkflowEnvironment) -> AsyncIterator[ApiClient]:
    """Run the API, whose callers may ask as often as they like: rates are not what is attacked here."""
    async with running_api(table, temporal_env, **GENEROUS) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def rows(table: Table) -> Rows:
    """Return an empty table with a keeper that lives."""
    return await Rows.with_keeper(table)


async def _many(rows: Rows) -> None:
    await rows.live()
    await rows.sql(
        "insert into deployments (name, replicas, lifecycle) "
        "select 'd' || lpad(n::text, 4, '0'), 1, 'pending' from generate_series(1, :count) n",
        count=MANY,
    )


async def test_no_list_answers_with_all_and_its_pages_answer_with_everything(
    api: ApiClient,
    rows: Rows,
) -> None:
    await _many(rows)
    first = (await api.call("GET", "/v1/deployments", Role.VIEWER)).json
    assert len(first["deployments"]) == 100
    seen, after = list[str](), ""
    while after is not None:
        page = (await api.call("GET", f"/v1/deployments?limit=200&after={after}", Role.VIEWER)).json
        assert len(page["deployments"]) <= 200
        seen += [one["deployment"] for one in page["deployments"]]
        after = page["next_after"]
    assert len(seen) == len(set(seen)) == MANY + 1
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/deployments?limit=201",
        "/v1/deployments/chat/revisions?limit=201",
        "/v1/deployments/chat/rollouts?limit=201",
        "/v1/deployments/chat/events?limit=201",
        "/v1/deployments/chat/history?limit=1001",
        "/v1/rollouts?limit=201",
        "/v1/routers?limit=201",
        "/v1/events?limit=201",
        "/v1/deployments?limit=-1",
        "/v1/deployments?limit=0",
    ],
)
async def test_no_page_is_longer_than_pages_may_be(api: ApiClient, rows: Rows, path: str) -> None:
    await rows.live()
    assert (await api.call("GET", path, Role.VIEWER)).code == "INVALID_PAYLOAD"


def _lists() -> list[str]:
    """Return every field of the schema that is a list, by introspection of the attacker."""
    return [
        "deployments",
        "routers",
        *(f'{name}(deploymentId: "chat")' for name in ("routes", "revisions", "events")),
        *(
            f'deployment(name: "chat") {{ {name}'
            for name in ("routes", "routeSets", "revisions", "acknowledgements", "events", "rollouts")
        ),
    ]


@pytest.mark.parametrize("field", _lists())
@pytest.mark.parametrize("first", [0, -1, 101, 2**31 - 1])
async def test_no_list_of_graphql_is_longer_than_pages_may_be(
    api: ApiClient,
    rows: Rows,
    field: str,
    first: int,
) -> None:
    await rows.live()
    with_first = field[:-1] + f", first: {first})" if field.endswith(")") else f"{field}(first: {first})"
    query = "{ " + with_first + " { pageInfo { endCursor } }" + (" }" if "{" in field else "") + " }"
    [error] = (await api.graphql(query, Role.VIEWER))["errors"]
    assert error["extensions"]["code"] in {"INVALID_PAYLOAD", "QUERY_TOO_COSTLY"}


NO_PAGE = ("labels", "timers", "refused", "approved", "args", "edges", "keys", "changes")
"""Lists that belong to one object: their length has a bound of its own, and cost counts it."""


async def test_every_list_of_objects_in_the_schema_is_a_page(api: ApiClient) -> None:
    schema = (await api.data(get_introspection_query(), Role.VIEWER))["__schema"]
    unpaged = [
        f"{kind['name']}.{field['name']}"
        for kind in schema["types"]
        if kind["kind"] == "OBJECT" and not kind["name"].startswith("__")
        for field in kind["fields"]
        if _is_list_of_objects(field["type"]) and field["name"] not in NO_PAGE
    ]
    assert unpaged == []


def _is_list_of_objects(kind: dict[str, Any] | None) -> bool:
    is_list = False
    while kind is not None and kind["kind"] in {"NON_NULL", "LIST"}:
        is_list = is_list or kind["kind"] == "LIST"
        kind = kind["ofType"]
    return is_list and kind is not None and kind["kind"] == "OBJECT"


_EVENTS = "events(first: 100) { edges { node { id kind actor door verified reason evidence } } }"
DEAR = {
    "nested pages": "{ deployments(first: 100) { edges { node { " + _EVENTS + " } } } }",
    "a page by the default of a variable": (
        "query($n: Int! = 100) { deployments(first: $n) { edges { node { "
        "events(first: $n) { edges { node { id } } } } } } }"
    ),
    "many pages by aliases": (
        "{ " + " ".join(f"a{n}: deployments(first: 100) {{ edges {{ node {{ ...f }} }} }}" for n in range(25)) + " } "
        "fragment f on Deployment { id name phase waitsFor epoch replicas wanted healthy frozen lifecycle }"
    ),
    "fragments that double": (
        "{ deployments(first: 1) { edges { node { ...f0 } } } } "
        + " ".join(f"fragment f{n} on Deployment {{ ...f{n + 1} ...f{n + 1} }}" for n in range(100))
        + " fragment f100 on Deployment { name }"
    ),
    "one field a thousand times": "{ deployments { " + "pageInfo { endCursor } " * 700 + "} }",
    "inline fragments inside one another": (
        "{ deployments { " + "... { " * 40 + "pageInfo { endCursor } " * 150 + "} " * 40 + "} }"
    ),
    "a schema that is read in circles": (
        "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"
    ),
    "questions to a hundred workflows": "{ deployments(first: 100) { edges { node { workflow { phase } } } } }",
    "questions by aliases": (
        '{ deployment(name: "chat") { ' + " ".join(f"a{n}: workflow {{ phase }}" for n in range(21)) + " } }"
    ),
}


@pytest.mark.parametrize("attack", DEAR)
async def test_a_query_that_is_made_to_be_dear_is_refused_before_it_reads_anything(
    api: ApiClient,
    rows: Rows,
    attack: str,
) -> None:
    await rows.live()
    answer = await api.graphql(DEAR[attack], Role.VIEWER)
    [error] = answer["errors"]
    assert error["extensions"]["code"] in {"QUERY_TOO_COSTLY", "QUERY_TOO_DEEP"}
    assert answer["data"] is None


@pytest.mark.parametrize("opening", ["{ deployments ", "{ a ", "[", "{ a(x: {", "... {"])
async def test_brackets_inside_one_another_without_end_end_in_an_error(api: ApiClient, opening: str) -> None:
    query = "{ " + opening * 1500
    answer = await api.call("POST", "/graphql", Role.VIEWER, body={"query": query})
    assert answer.status == 200
    assert answer.json["data"] is None
    assert answer.json["errors"]
    assert (await api.call("GET", "/v1/whoami", Role.VIEWER)).status == 200


async def test_reads_that_hang_keep_no_other_caller_from_deciding(api: ApiClient, rows: Rows) -> None:
    """Several viewers ask again and again for what hangs; an admin's decision goes through while they wait."""
    await rows.live(labels={"team": "ads"})
    admin = await api.token(Role.ADMIN)
    viewers = [await api.token(role, team="ads") for role in (Role.VIEWER, Role.OPERATOR, Role.APPROVER, Role.ADMIN)]
    async with rows.table.transaction() as tx:
        await tx.execute(_LOCK)
        asked = [asyncio.create_task(api.call("GET", LOCKED, token=token)) for token in viewers for _ in range(12)]
        await _until_waiting(rows)
        labelled = await api.call(
            "PUT", "/v1/deployments/chat/labels", token=admin, body={"labels": {"team": "ads", "tier": "one"}}
        )
        assert labelled.status == 200
        # Had the decision waited its turn behind the reads, all that have a connection would have ended before it.
        assert sum(task.done() for task in asked) < len(viewers) * 3
    async with asyncio.timeout(DEADLINE_SECONDS * 2):
        answers = await asyncio.gather(*asked)
    assert {answer.status for answer in answers} <= {200, 503}


async def _until_waiting(rows: Rows) -> None:
    """Wait until a read waits for the lock."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        await ApiClient.until(lambda: rows.value("select count(*) from pg_locks where not granted"))


async def test_one_callers_reads_take_one_connection_at_a_time(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    token = await api.token(Role.VIEWER)
    async with rows.table.transaction() as tx:
        await tx.execute(_LOCK)
        asked = [asyncio.create_task(api.call("GET", LOCKED, token=token)) for _ in range(30)]
        await _until_waiting(rows)
        for _ in range(10):
            assert await rows.value("select count(*) from pg_locks where not granted") <= 1
            await asyncio.sleep(0.05)
    async with asyncio.timeout(DEADLINE_SECONDS * 2):
        answers = await asyncio.gather(*asked)
    assert {answer.status for answer in answers} <= {200, 503}


async def test_a_graphql_query_that_waits_behind_too_many_reads_is_told_so(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    token = await api.token(Role.VIEWER)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        rows.table.transaction() as tx,
    ):
        await tx.execute(_LOCK)
        many = ApiClient(api.url, session, rows.table)
        asked = [asyncio.create_task(many.call("GET", LOCKED, token=token)) for _ in range(140)]
        refused = await _first_refused(asked)
        assert refused.code == "TOO_MANY_READS"
        query = {"query": "{ deployments(first: 1) { edges { node { name } } } }"}
        [error] = (await many.call("POST", "/graphql", token=token, body=query)).json["errors"]
        assert error["extensions"]["code"] == "TOO_MANY_READS"
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def _first_refused(asked: list[asyncio.Task[Answer]]) -> Answer:
    """Return the first answer that came at once, while the others hang."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        for answered in asyncio.as_completed(asked):
            answer = await answered
            if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
                return answer
    raise AssertionError("none was refused")
