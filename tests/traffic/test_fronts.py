"""Debian's nginx and HAProxy before a router, with the files that the documentation quotes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from aiohttp import ClientSession, TCPConnector

from tests.gateway.conftest import Gateway, free_port, serving
from tests.gateway.grpc_replica import GrpcClient
from tests.gateway.router import DEADLINE_SECONDS, Router
from tests.gateway.traffic import LOOPBACK, routing
from tests.traffic import kinds
from tests.traffic.deployment import Deployment, ends
from tests.traffic.fronts import DOMAIN, FRONTS, Front, running_front

pytestmark = pytest.mark.parts

CLIENT = "127.0.0.9"
"""Where the client's connections come from; the proxy's come from 127.0.0.1."""

SOMEBODY = "198.51.100.1"
"""Whom the client says that it is."""

carried = pytest.mark.parametrize(
    "kind",
    [
        kinds.KINDS[name]
        for name in ("POST", "SSE", "WebSocket", "chunked upload", "download", "gRPC unary", "gRPC bidi stream")
    ],
    ids=["POST", "SSE", "WebSocket", "chunked upload", "download", "gRPC unary", "gRPC bidi stream"],
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway() -> AsyncIterator[Gateway]:
    """Run a gateway whose routers have one proxy before them."""
    async with serving([], replace(routing(free_port(), free_port()), trusted_hops=1)) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=FRONTS)
async def front(
    request: pytest.FixtureRequest, router: Router, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Front]:
    """Run a proxy before the router."""
    async with running_front(request.param, tmp_path_factory.mktemp("front"), router.live) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def fronted(front: Front, deployment: Deployment) -> AsyncIterator[Deployment]:
    """Return the deployment as clients reach it through the proxy."""
    host = f"{deployment.name}.{DOMAIN}"
    options = (("grpc.ssl_target_name_override", host), ("grpc.use_local_subchannel_pool", 1))
    credentials = grpc.ssl_channel_credentials(front.certificate)
    async with AsyncExitStack() as stack:
        connector = TCPConnector(ssl=front.trust, local_addr=(CLIENT, 0))
        client = await stack.enter_async_context(ClientSession(connector=connector))
        channel = grpc.aio.secure_channel(f"{LOOPBACK}:{front.port}", credentials, options)
        calls = GrpcClient(await stack.enter_async_context(channel), (("x-forwarded-for", SOMEBODY),))
        base = f"https://{LOOPBACK}:{front.port}"
        yield replace(deployment, address=replace(deployment.address, client=client, calls=calls, base=base, host=host))


@carried
async def test_what_runs_at_a_switch_ends_on_its_own_colour(kind: kinds.Kind, fronted: Deployment) -> None:
    on_blue = await fronted.begin(kind, 2)
    await fronted.switch()
    await fronted.runs(fronted.blue_set, 2)
    on_green = await fronted.begin(kind, 1)
    assert await ends(on_blue) == {"blue": 2}
    assert await ends(on_green) == {"green": 1}
    await fronted.is_drained(fronted.blue_set)
    fronted.ledger.assert_each_once()


@carried
async def test_a_switch_loses_nothing_and_runs_nothing_twice(kind: kinds.Kind, fronted: Deployment) -> None:
    async with fronted.under(kind) as flow:
        await flow.more()
        await fronted.switch()
        await flow.more()
        await fronted.switch_back()
        await flow.more()
    fronted.ledger.assert_each_once()
    assert set(flow.answers.values()) == {"blue", "green"}


async def test_a_token_reaches_the_client_before_the_next_one_is_made(fronted: Deployment) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS), fronted.address.open("/silent") as answer:
        assert await answer.content.readexactly(len("begins, ")) == b"begins, "
        fronted.blue.finish.set()
        assert await answer.content.read() == b"ends"


@pytest.mark.parametrize("kind", [kinds.tokens, kinds.websocket, kinds.bidi_stream])
async def test_a_client_that_leaves_is_noticed_behind_the_proxy(kind: kinds.Kind, fronted: Deployment) -> None:
    [leaver] = await fronted.begin(kind, 1)
    await fronted.switch()
    await fronted.runs(fronted.blue_set, 1)
    # Before it leaves: a client that is cancelled would wait for the proxy's farewell (TLS) with its connection open.
    await fronted.address.client.close()
    await leaver.leave()
    await fronted.is_drained(fronted.blue_set)
    assert fronted.ledger.broken == {leaver.number: 1}


async def test_the_replica_sees_the_clients_address_and_scheme(fronted: Deployment) -> None:
    url, headers = f"{fronted.address.base}/v1", {"host": fronted.address.host}
    lies = {"x-forwarded-for": SOMEBODY, "x-forwarded-proto": "http", "x-envoy-external-address": SOMEBODY}
    async with fronted.address.client.get(url, headers=headers | lies) as answer:
        seen = (await answer.json())["headers"]
    assert (seen["x-envoy-external-address"], seen["x-forwarded-proto"]) == (CLIENT, "https")
    assert seen["host"] == fronted.address.host


async def test_a_call_of_grpc_has_the_clients_address_and_scheme(fronted: Deployment) -> None:
    """The client and the proxy are at the same address here, so the list of all through whom it came is looked at."""
    assert await fronted.address.calls.generate() == "blue"
    seen = fronted.blue.metadata
    assert seen["x-forwarded-for"].replace(" ", "").split(",")[:2] == [SOMEBODY, LOOPBACK]
    assert (seen["x-envoy-external-address"], seen["x-forwarded-proto"]) == (LOOPBACK, "https")
