"""Which path a replica gets, of all that clients write."""

import json

import pytest

from tests.gateway.router import Router
from tests.traffic.connection import connected
from tests.traffic.deployment import Deployment

pytestmark = pytest.mark.parts

LONG = "q=" + "x" * 50_000

TARGETS = [
    ("/", "/"),
    ("/v1/", "/v1/"),
    ("//", "//"),
    ("/v1//models", "/v1//models"),
    ("/a%2Fb", "/a%2Fb"),
    ("/a%2fb", "/a%2fb"),
    ("/a%5Cb", "/a%5Cb"),
    ("/a%252Fb", "/a%252Fb"),
    ("/models/org%2Fname/versions", "/models/org%2Fname/versions"),
    ("/./v1/./models", "/v1/models"),
    ("/v1/x/../models", "/v1/models"),
    ("/v1/x/%2e%2E/models", "/v1/models"),
    ("/.../v1..", "/.../v1.."),
    ("/v1?", "/v1?"),
    ("/v1?a=1&a=2&b=", "/v1?a=1&a=2&b="),
    ("/v1?a=/../b//c%2F", "/v1?a=/../b//c%2F"),
    ("/v1?a=1?b=2", "/v1?a=1?b=2"),
    (f"/v1?{LONG}", f"/v1?{LONG}"),
    ("/caf%C3%A9", "/caf%C3%A9"),
    ("/%E6%A8%A1%E5%9E%8B?q=%E2%82%AC", "/%E6%A8%A1%E5%9E%8B?q=%E2%82%AC"),
    ("/a%20b+c", "/a%20b+c"),
    ("/a;v=1,2:3@x!$&'()*=~", "/a;v=1,2:3@x!$&'()*=~"),
    ("/%ff", "/%ff"),
]
"""What a client sends after ``/`` or ``/NAME``, and what the replica gets."""

targets = pytest.mark.parametrize(("sent", "received"), TARGETS, ids=[sent[:40] for sent, _ in TARGETS])


async def came(router: Router, host: str, target: str) -> str:
    """Return the path and query that reached the replica."""
    async with connected(router.live) as connection:
        reply = await connection.ask(host, target)
    assert reply.status == 200, reply
    told: str = json.loads(reply.body)["target"]
    return told


@targets
async def test_by_host_name(sent: str, received: str, deployment: Deployment, router: Router) -> None:
    assert await came(router, deployment.name, sent) == received


@targets
async def test_by_path(sent: str, received: str, deployment: Deployment, router: Router) -> None:
    assert await came(router, "router.internal", f"/{deployment.name}{sent}") == received


async def test_dots_that_lead_out_of_a_host_are_taken_away(deployment: Deployment, router: Router) -> None:
    assert await came(router, deployment.name, "/../../v1") == "/v1"


@pytest.mark.parametrize("dots", ["..", "%2e%2e", ".%2E"])
async def test_dots_that_lead_out_of_a_deployments_path_do_not_reach_it(
    dots: str, deployment: Deployment, router: Router
) -> None:
    async with connected(router.live) as connection:
        assert (await connection.ask("router.internal", f"/{deployment.name}/{dots}/v1")).status == 404
