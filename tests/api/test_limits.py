"""What keeps one caller from taking everything, and browsers from helping."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from temporalio.testing import WorkflowEnvironment

from celadon.api.limits import SECURITY_HEADERS, Rate
from celadon.domain.language.permissions import Role
from celadon.table.core.engine import Table
from tests.api.conftest import DEADLINE_SECONDS, GENEROUS, ApiClient, running_api


def test_a_bucket_fills_with_time() -> None:
    now = [0.0]
    rate = Rate(2.0, 3, lambda: now[0])
    assert [rate.wait_for("ann") for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate.wait_for("bob") == 0
    now[0] = 0.5
    assert rate.wait_for("ann", take=False) == 0
    assert rate.wait_for("ann") == 0
    assert rate.wait_for("ann") == 0.5


async def test_a_caller_that_asks_too_often_is_told_when_to_come_back(
    table: Table, temporal_env: WorkflowEnvironment
) -> None:
    async with running_api(table, temporal_env, api_requests_per_second=0.001, api_burst=3) as api:
        seen = [(await api.call("GET", "/v1/whoami", Role.VIEWER)).status for _ in range(4)]
        assert seen == [200, 200, 200, 429]
        answer = await api.call("GET", "/v1/whoami", Role.VIEWER)
        assert answer.code == "RATE_LIMITED"
        assert int(answer.headers["retry-after"]) > 0
        assert (await api.call("GET", "/v1/whoami", Role.ADMIN)).status == 200


async def test_an_address_that_guesses_is_stopped(table: Table, temporal_env: WorkflowEnvironment) -> None:
    async with running_api(table, temporal_env, api_failures_per_minute=3) as api:
        good = await api.token(Role.VIEWER)
        seen = [(await api.call("GET", "/v1/whoami", token=f"celadon_{n}_guess")).status for n in range(4)]
        assert seen == [401, 401, 401, 429]
        assert (await api.call("GET", "/v1/whoami", token=good)).status == 200


async def test_a_large_body_is_refused_however_it_comes(table: Table, temporal_env: WorkflowEnvironment) -> None:
    async with running_api(table, temporal_env, api_max_body=2048, **GENEROUS) as api:
        body = {"deployment": "chat", "reason": "x" * 4096}
        assert (await api.call("POST", "/v1/deployments", Role.ADMIN, body=body)).code == "BODY_TOO_LARGE"
        query = {"query": "{ __typename }", "variables": {"x": "x" * 4096}}
        assert (await api.call("POST", "/graphql", Role.ADMIN, body=query)).code == "BODY_TOO_LARGE"

        async def in_chunks() -> object:
            for _ in range(8):
                yield b" " * 1024
                await asyncio.sleep(0)

        token = await api.token(Role.ADMIN)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        async with api.session.post(f"{api.url}/v1/deployments", data=in_chunks(), headers=headers) as answer:
            assert answer.status == 413
            assert json.loads(await answer.text())["code"] == "BODY_TOO_LARGE"


async def test_streams_are_counted(table: Table, temporal_env: WorkflowEnvironment) -> None:
    async with running_api(table, temporal_env, api_max_streams=1, **GENEROUS) as api:
        token = await api.token(Role.VIEWER)
        headers = {"authorization": f"Bearer {token}"}
        async with api.session.get(f"{api.url}/v1/stream", headers=headers) as stream:
            await stream.content.readline()
            assert (await api.call("GET", "/v1/stream", Role.VIEWER)).code == "TOO_MANY_STREAMS"


async def test_of_streams_that_come_at_once_no_more_are_opened(table: Table, temporal_env: WorkflowEnvironment) -> None:
    async with running_api(table, temporal_env, api_max_streams=2, **GENEROUS) as api, AsyncExitStack() as held:
        headers = {"authorization": f"Bearer {await api.token(Role.VIEWER)}"}
        answers = await asyncio.gather(
            *(held.enter_async_context(api.session.get(f"{api.url}/v1/stream", headers=headers)) for _ in range(6))
        )
        assert sorted(answer.status for answer in answers) == [200, 200, 503, 503, 503, 503]


async def test_a_stream_that_was_left_makes_room(table: Table, temporal_env: WorkflowEnvironment) -> None:
    async with running_api(table, temporal_env, api_max_streams=1, **GENEROUS) as api:
        headers = {"authorization": f"Bearer {await api.token(Role.VIEWER)}"}
        async with api.session.get(f"{api.url}/v1/stream", headers=headers) as stream:
            assert stream.status == 200

        async def none_is_open() -> bool:
            return "celadon_api_streams 0.0" in (await api.call("GET", "/metrics", Role.VIEWER)).text

        async with asyncio.timeout(DEADLINE_SECONDS):
            await api.until(none_is_open)
        async with api.session.get(f"{api.url}/v1/stream", headers=headers) as stream:
            assert stream.status == 200


@pytest.mark.parametrize("path", ["/v1/whoami", "/healthz", "/nowhere", "/v1/deployments/nobody"])
async def test_every_answer_has_the_headers_that_browsers_obey(api: ApiClient, path: str) -> None:
    answer = await api.call("GET", path, Role.VIEWER, headers={"origin": "https://elsewhere.example"})
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "server" not in answer.headers


async def test_another_site_gets_no_leave_to_call(api: ApiClient) -> None:
    answer = await api.call(
        "OPTIONS",
        "/v1/deployments/chat/promote",
        headers={"origin": "https://elsewhere.example", "access-control-request-method": "POST"},
    )
    assert answer.status == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_form_is_no_request(api: ApiClient) -> None:
    token = await api.token(Role.ADMIN)
    headers = {"authorization": f"Bearer {token}", "content-type": "text/plain"}
    path = f"{api.url}/v1/deployments/chat/promote"
    async with api.session.post(path, data='{"force": true}', headers=headers) as answer:
        assert answer.status == 415


async def test_metrics_count_what_was_asked_and_refused(api: ApiClient) -> None:
    await api.call("GET", "/v1/whoami")
    await api.call("GET", "/v1/whoami", Role.VIEWER)
    text = (await api.call("GET", "/metrics", Role.VIEWER)).text
    assert 'celadon_api_callers_refused_total{why="unknown"} 1.0' in text
    assert 'celadon_api_requests_total{method="GET",route="/v1/whoami",status="200"} 1.0' in text
