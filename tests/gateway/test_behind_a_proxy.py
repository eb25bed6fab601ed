"""Routers behind another proxy, on the real Envoy."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from celadon.gateway.routing import Routing
from tests.gateway.conftest import router_of
from tests.gateway.replica import Replica
from tests.gateway.router import Router, raw

pytestmark = pytest.mark.parts

CLIENT = "203.0.113.7"
REQUEST_ID = "id-of-the-client"


@pytest_asyncio.fixture(loop_scope="session")
async def edge(ports: Routing, tmp_path: Path, blue: Replica) -> AsyncIterator[Router]:
    """Run a router with the default settings."""
    async with router_of(ports, tmp_path, blue.port) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def behind(ports: Routing, tmp_path: Path, blue: Replica) -> AsyncIterator[Router]:
    """Run a router behind one proxy, with all that is for such routers."""
    settings = replace(ports, trusted_hops=1, keep_request_ids=True, return_request_ids=True, accept_http_10=True)
    async with router_of(settings, tmp_path, blue.port) as made:
        yield made


async def test_an_edge_believes_nothing_of_where_a_request_came_from(edge: Router) -> None:
    answer = await edge.ask(x_forwarded_for=CLIENT, x_forwarded_proto="https", x_request_id=REQUEST_ID)
    headers = answer.json["headers"]
    assert (headers["x-forwarded-proto"], headers["x-envoy-external-address"]) == ("http", "127.0.0.1")
    assert headers["x-request-id"] != REQUEST_ID
    assert "x-request-id" not in answer.headers
    assert (await raw(edge, b"GET /chat/x HTTP/1.0\r\n\r\n"))[0] == 426


async def test_a_router_behind_a_proxy_believes_the_proxy(behind: Router) -> None:
    answer = await behind.ask(x_forwarded_for=f"198.51.100.1, {CLIENT}", x_forwarded_proto="https")
    headers = answer.json["headers"]
    assert (headers["x-forwarded-proto"], headers["x-envoy-external-address"]) == ("https", CLIENT)


async def test_request_ids_reach_the_replica_and_come_back(behind: Router) -> None:
    answer = await behind.ask(x_request_id=REQUEST_ID)
    assert answer.json["headers"]["x-request-id"] == answer.headers["x-request-id"] == REQUEST_ID
    error = await behind.ask(host="nobody", x_request_id=REQUEST_ID)
    assert (error.status, error.headers["x-request-id"]) == (404, REQUEST_ID)


@pytest.mark.parametrize("head", [b"GET /x HTTP/1.0\r\nhost: chat\r\n\r\n", b"GET /chat/x HTTP/1.0\r\n\r\n"])
async def test_http_10_is_accepted_with_and_without_a_host(behind: Router, head: bytes) -> None:
    status, _, body = await raw(behind, head)
    assert (status, json.loads(body)["path"]) == (200, "/x")
