"""Connections that are kept, on either side of a router, across switches."""

import json
from collections import Counter
from collections.abc import Callable

import pytest

from celadon.domain.decisions.publication import SetRole
from celadon.domain.language.names import RouteSetId
from celadon.gateway import local_replies
from tests.gateway.conftest import Gateway
from tests.gateway.router import Router
from tests.gateway.traffic import publication
from tests.traffic.bodies import SMALL, parts, sum_of
from tests.traffic.closing_server import ClosingServer
from tests.traffic.connection import connected
from tests.traffic.deployment import Deployment
from tests.traffic.model_server import COLOUR

pytestmark = pytest.mark.parts

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH")
REQUESTS = 200
CLOSING_SET = RouteSetId(1_000_000)


@pytest.mark.parametrize("method", METHODS)
async def test_one_connection_reaches_the_other_colour_with_its_next_request(
    method: str, deployment: Deployment, router: Router
) -> None:
    async with connected(router.live) as connection:

        async def colour(number: int) -> str:
            reply = await connection.ask(deployment.name, f"/answer/{method}-{number}", method)
            assert reply.status == 200
            assert reply.headers.get("connection") != "close"
            return reply.headers[COLOUR]

        assert [await colour(1), await colour(2)] == ["blue", "blue"]
        await deployment.switch()
        assert [await colour(3), await colour(4)] == ["green", "green"]
        await deployment.switch_back()
        assert [await colour(5), await colour(6)] == ["blue", "blue"]
    deployment.ledger.assert_each_once()


async def test_requests_that_are_sent_before_the_answers_are_answered_in_their_order(
    deployment: Deployment, router: Router
) -> None:
    async with connected(router.live) as connection:
        for number in range(5):
            await connection.send(f"GET /answer/{number} HTTP/1.1\r\nhost: {deployment.name}\r\n\r\n".encode())
        await deployment.switch()
        assert [(await connection.reply()).status for _ in range(5)] == [200] * 5
    deployment.ledger.assert_each_once()


async def test_a_connection_is_kept_after_a_body_that_was_announced(deployment: Deployment, router: Router) -> None:
    async with connected(router.live) as connection:
        for number in range(3):
            head = f"PUT /upload/{number}?half=0 HTTP/1.1\r\nhost: {deployment.name}\r\ncontent-length: {SMALL}\r\n"
            await connection.send(f"{head}expect: 100-continue\r\n\r\n".encode())
            assert (await connection.reply(has_body=False)).status == 100
            for part in parts(0, SMALL):
                await connection.send(part)
            assert (await connection.reply()).body.decode() == sum_of(SMALL).text
    deployment.ledger.assert_each_once()


async def test_the_router_itself_says_that_a_body_may_come(deployment: Deployment, router: Router) -> None:
    async with connected(router.live) as connection:
        head = f"POST /v1 HTTP/1.1\r\nhost: {deployment.name}\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        await connection.send(head.encode())
        assert (await connection.reply(has_body=False)).status == 100
        await connection.send(b"{}")
        headers = json.loads((await connection.reply()).body)["headers"]
    assert "expect" not in headers


async def test_a_preflight_reaches_the_replica_as_the_browser_sent_it(deployment: Deployment, router: Router) -> None:
    origin = "https://app.example.com"
    async with connected(router.live) as connection:
        reply = await connection.ask(
            deployment.name, "/v1", "OPTIONS", origin=origin, access_control_request_method="POST"
        )
    headers = json.loads(reply.body)["headers"]
    assert (headers["origin"], headers["access-control-request-method"]) == (origin, "POST")


@pytest.mark.parametrize("answers", [1, 3])
async def test_a_replica_that_closes_connections_between_requests_costs_no_idempotent_request(
    answers: int, gateway: Gateway, router: Router
) -> None:
    async with ClosingServer(answers).listening() as server:
        await gateway.tell(publication(1, {(CLOSING_SET, SetRole.LIVE): [server.port]}, f"closes-{answers}"))
        statuses = Counter([(await router.ask(f"/{n}", f"closes-{answers}")).status for n in range(REQUESTS)])
    assert statuses == {200: REQUESTS}


@pytest.mark.parametrize("answers", [1, 3])
async def test_a_request_that_meets_a_connection_as_it_closes_runs_once_at_most(
    answers: int, gateway: Gateway, router: Router, record_testsuite_property: Callable[[str, object], None]
) -> None:
    name = f"closes-posts-{answers}"
    async with ClosingServer(answers).listening() as server:
        await gateway.tell(publication(1, {(CLOSING_SET, SetRole.LIVE): [server.port]}, name))
        replies = [await router.ask(f"/{number}", name, method="POST", body=b"{}") for number in range(REQUESTS)]
    refused = [reply for reply in replies if reply.status != 200]
    assert {reply.json["error"]["code"] for reply in refused} <= {local_replies.REPLICA_DISCONNECTED}
    assert max(server.requests.values()) == 1
    assert server.requests.total() >= REQUESTS - len(refused)
    record_testsuite_property(f"POSTs refused of {REQUESTS}, {answers} a connection", len(refused))
