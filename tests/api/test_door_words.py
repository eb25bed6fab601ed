"""What the API says to do names what its reader can send: a request, a mutation, a button, or a command line."""

import html
from collections.abc import Mapping

import pytest

from celadon.domain.language.permissions import Role
from tests.api.conftest import ApiClient
from tests.api.console.test_pages import Browser
from tests.api.test_stream import following
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

COMMAND_LINE: Mapping[str, str] = {"x-celadon-door": "cli"}
NOTHING_UNDER_WAY = "start one with 'celadon deploy -f FILE', or see 'celadon deployment list'"
WAITS = "wait, or abort: celadon abort chat"


async def test_a_refusal_of_rest_names_requests(api: ApiClient, rows: Rows) -> None:
    await rows.live()

    answer = await api.call("POST", "/v1/deployments/chat/finish", Role.ADMIN, body={})

    assert answer.code == "NO_SUCH_ROLLOUT"
    assert answer.json["next_step"] == "start one with 'POST /v1/rollouts', or see 'GET /v1/deployments'"


async def test_a_refusal_that_the_command_line_reads_names_command_lines(api: ApiClient, rows: Rows) -> None:
    await rows.live()

    answer = await api.call("POST", "/v1/deployments/chat/finish", Role.ADMIN, body={}, headers=COMMAND_LINE)

    assert answer.json["next_step"] == NOTHING_UNDER_WAY


async def test_a_refusal_of_graphql_names_mutations_and_queries(api: ApiClient, rows: Rows) -> None:
    await rows.live()

    data = await api.data(
        'mutation { finishRollout(input: {deploymentId: "chat"}) { ... on Refused { code nextStep } } }',
        Role.ADMIN,
    )

    assert data["finishRollout"] == {
        "code": "NO_SUCH_ROLLOUT",
        "nextStep": "start one with 'startRollout(input: {deploymentId: \"NAME\"})', or see 'deployments'",
    }


async def test_a_refusal_of_the_console_names_its_pages(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    browser = Browser(api)
    await browser.log_in(Role.ADMIN)

    await browser.post("/deployments/chat/finish", {"csrf": browser.csrf, "reason": "enough"})
    shown = html.unescape((await browser.get("/deployments/chat")).text)

    assert "start one with 'celadon deploy -f FILE' on the command line, or see the list of deployments" in shown


async def test_the_next_step_of_a_rollout_is_in_the_words_of_whoever_reads(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    await rows.open("run-2")

    listed = await api.call("GET", "/v1/deployments", Role.VIEWER)
    typed = await api.call("GET", "/v1/deployments", Role.VIEWER, headers=COMMAND_LINE)
    data = await api.data('{ deployment(name: "chat") { rollout { nextStep } } }')

    assert listed.json["deployments"][0]["next_step"] == "wait, or abort: POST /v1/deployments/chat/abort"
    assert typed.json["deployments"][0]["next_step"] == WAITS
    step = 'wait, or abort: abortRollout(input: {deploymentId: "chat"})'
    assert data["deployment"]["rollout"]["nextStep"] == step


async def test_a_stream_is_in_the_words_of_whoever_follows(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    await rows.open("run-2")

    async with following(api, "/v1/stream") as stream:
        listed = await stream.next("deployments")

    assert listed["data"]["deployments"][0]["next_step"] == "wait, or abort: POST /v1/deployments/chat/abort"


async def test_the_words_of_people_stay(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    body = {"replicas": 5, "reason": "celadon abort chat"}

    await api.call("POST", "/v1/deployments/chat/scale", Role.OPERATOR, body=body)
    events = await api.call("GET", "/v1/events", Role.VIEWER)

    assert events.json["events"][0]["reason"] == "celadon abort chat"
