"""Blue as the net under green during the bake, on the real Envoy: it gets what no replica of green can take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from celadon.domain.decisions.drain import ENOUGH_ZERO_REPORTS
from celadon.domain.decisions.publication import EndpointState, Publication, SetRole
from celadon.gateway.load_reports import DrainLoad
from tests.gateway.conftest import Gateway, free_port, serving
from tests.gateway.grpc_replica import GrpcReplica, grpc_client
from tests.gateway.load import CONNECTIONS, under_load
from tests.gateway.replica import Replica
from tests.gateway.router import Router, running_router, until
from tests.gateway.traffic import BLUE, GREEN, LOOPBACK, after_switch, publication, routing

pytestmark = pytest.mark.parts

REQUESTS = 200
STREAMS = 5
SOCKETS = 12


def baking(epoch: int, blue: list[int], green: list[int], grpc: dict[int, int] | None = None) -> Publication:
    """Return a publication in which green is live, and blue takes what it cannot."""
    return publication(epoch, {(BLUE, SetRole.WARM): blue, (GREEN, SetRole.LIVE): green}, grpc=grpc)


async def colours(router: Router, count: int = REQUESTS) -> set[str]:
    """Return who answered so many requests, one after the other; every other one is a POST."""
    answers = [await router.ask(method=method) for _ in range(count // 2) for method in ("GET", "POST")]
    assert {answer.status for answer in answers} == {200}
    return {answer.json["colour"] for answer in answers}


@asynccontextmanager
async def listening(colour: str, number: int) -> AsyncIterator[list[Replica]]:
    """Run so many replicas until the block ends."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Replica(colour).listening()) for _ in range(number)]


async def test_blue_gets_nothing_while_green_serves(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    async with under_load(router) as load:
        await load.more(REQUESTS)
        await gateway.tell(baking(2, [blue.port], [green.port]))
        # What was under way when the router acknowledged may still arrive.
        await load.more(2 * CONNECTIONS)
        before = load.answers["blue"]
        await load.more(REQUESTS)
    assert (load.answers["blue"], load.failed) == (before, 0)


@pytest.mark.parametrize("blue_is_a_net", [True, False])
async def test_websockets_that_their_replica_closes_take_no_request_from_it(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
    blue_is_a_net: bool,  # noqa: FBT001
) -> None:
    """A server closes the connection of each WebSocket that its client ends; many end without a request in between."""
    await gateway.tell((baking if blue_is_a_net else after_switch)(2, [blue.port], [green.port]))
    url, to = f"http://{LOOPBACK}:{router.live}/websocket", {"host": "chat"}
    sockets = [await router.client.ws_connect(url, headers=to) for _ in range(SOCKETS)]
    for socket in sockets:
        await socket.send_str("here")
        assert await socket.receive_str() == "green: here"
    await asyncio.gather(*(socket.close() for socket in sockets))
    assert await colours(router, 20) == {"green"}


async def test_blue_gets_nothing_while_one_of_three_greens_is_left(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    await gateway.tell(baking(2, [blue.port], [green.port, free_port(), free_port()]))
    answers = [await router.ask(method="POST") for _ in range(REQUESTS)]
    assert {answer.json["colour"] for answer in answers} == {"green"}


async def test_blue_gets_nothing_while_two_of_four_greens_pass_their_probes(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    async with listening("green", 3) as more:
        told = baking(2, [blue.port], [green.port, *(one.port for one in more)])
        sick = {one.port for one in more[:2]}
        endpoints = tuple(
            one.model_copy(update={"state": EndpointState.UNHEALTHY}) if one.port in sick else one
            for one in told.endpoints
        )
        await gateway.tell(told.model_copy(update={"endpoints": endpoints}))
        assert await colours(router) == {"green"}


async def test_an_idempotent_request_that_meets_dead_greens_alone_is_answered_by_blue_at_last(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    """It is tried less often than others, for it may have been what killed them."""
    await gateway.tell(baking(2, [blue.port], [green.port, free_port(), free_port()]))
    answers = [await router.ask() for _ in range(REQUESTS)]
    assert {answer.status for answer in answers} == {200}


@pytest.mark.parametrize("dead", [1, 3, 6])
async def test_blue_takes_what_no_green_can_before_anybody_hears_of_their_death(
    gateway: Gateway, router: Router, blue: Replica, dead: int
) -> None:
    await gateway.tell(baking(2, [blue.port], [free_port() for _ in range(dead)]))
    assert await colours(router) == {"blue"}


async def test_greens_that_die_under_load_cost_no_request_that_was_not_running_on_them(
    gateway: Gateway, router: Router, blue: Replica
) -> None:
    async with under_load(router) as load:
        async with listening("green", 3) as greens:
            await gateway.tell(baking(2, [blue.port], [one.port for one in greens]))
            await load.more(REQUESTS)
            assert load.answers["green"] > 0
        await load.more(REQUESTS)
        before = load.answers["blue"]
        await load.more(REQUESTS)
    assert load.failed <= CONNECTIONS
    assert load.answers["blue"] - before >= REQUESTS


async def test_a_green_that_is_back_takes_all_again(gateway: Gateway, router: Router, blue: Replica) -> None:
    green = Replica("green")
    green.port = free_port()
    await gateway.tell(baking(2, [blue.port], [green.port]))
    assert await colours(router, 20) == {"blue"}
    async with green.listening():
        await until(lambda: _is_of(router, "green"))
        assert await colours(router) == {"green"}


async def _is_of(router: Router, colour: str) -> bool:
    return bool((await router.ask()).json["colour"] == colour)


async def test_without_a_net_requests_to_dead_greens_are_refused(
    gateway: Gateway, router: Router, blue: Replica
) -> None:
    await gateway.tell(after_switch(2, [blue.port], [free_port()]))
    assert (await router.ask(method="POST")).status == 503


async def test_blue_takes_what_greens_cannot_of_which_the_probes_say_that_all_are_sick(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    told = baking(2, [blue.port], [green.port])
    sick = tuple(
        one if one.is_fallback else one.model_copy(update={"state": EndpointState.UNHEALTHY}) for one in told.endpoints
    )
    await gateway.tell(told.model_copy(update={"endpoints": sick}))
    assert await colours(router) == {"blue"}


async def test_what_runs_on_blue_is_counted_through_the_bake_the_drain_and_the_way_back(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    streams = [asyncio.create_task(router.stream()) for _ in range(STREAMS)]
    await until(lambda: blue.running == STREAMS)
    await gateway.tell(baking(2, [blue.port], [green.port]))
    streams += [asyncio.create_task(router.stream()) for _ in range(STREAMS - 1)]
    await until(lambda: green.running == STREAMS - 1)
    await gateway.tell(after_switch(3, [blue.port], [green.port]))
    await until(lambda: gateway.heard.loads.get(BLUE) == DrainLoad(STREAMS, 0))
    back = publication(4, {(BLUE, SetRole.LIVE): [blue.port], (GREEN, SetRole.DRAINING): [green.port]})
    await gateway.tell(back)
    await until(lambda: gateway.heard.loads.get(GREEN) == DrainLoad(STREAMS - 1, 0))
    assert (blue.running, green.running) == (STREAMS, STREAMS - 1)
    blue.finish.set()
    green.finish.set()
    await asyncio.gather(*streams)
    await until(lambda: gateway.heard.loads[GREEN].zero_reports >= ENOUGH_ZERO_REPORTS)


async def test_calls_of_grpc_have_the_same_net(tmp_path: Path) -> None:
    made = routing(free_port(), free_port())
    assert made.preview is not None
    async with AsyncExitStack() as stack:
        blue = await stack.enter_async_context(GrpcReplica("blue").listening())
        dead = free_port()
        told = baking(1, [blue.port], [dead], {blue.port: blue.grpc_port, dead: free_port()})
        gateway = await stack.enter_async_context(serving([told], made))
        router = await stack.enter_async_context(
            running_router(tmp_path, gateway.address, made.live.port, made.preview.port)
        )
        await until(lambda: gateway.heard.epoch() == 1)
        await until(router.listens)
        client = await stack.enter_async_context(grpc_client(router.live))
        assert {await client.generate(str(number).encode()) for number in range(20)} == {"blue"}


async def test_previews_have_no_net(gateway: Gateway, router: Router, blue: Replica) -> None:
    await gateway.tell(baking(2, [blue.port], [free_port()]))
    assert (await router.ask(port=router.preview)).status == 404


async def test_what_blue_takes_for_green_is_counted(gateway: Gateway, router: Router, blue: Replica) -> None:
    await gateway.tell(baking(2, [blue.port], [free_port()]))
    received = gateway.metrics.registry.get_sample_value

    def reports() -> float:
        return received("celadon_gateway_load_reports_total") or 0

    seen = reports()
    # The first report behind the acknowledgement tells of requests from before it, too.
    await until(lambda: reports() >= seen + 2)
    assert await colours(router) == {"blue"}
    await until(lambda: gateway.heard.failovers[BLUE] >= REQUESTS)
    assert gateway.heard.failovers == {BLUE: REQUESTS}
    assert received("celadon_gateway_failover_requests_total") == REQUESTS


async def test_nothing_is_counted_as_taken_while_green_serves(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    assert await colours(router) == {"blue"}
    await gateway.tell(baking(2, [blue.port], [green.port]))
    assert await colours(router) == {"green"}
    received = gateway.metrics.registry.get_sample_value
    seen = received("celadon_gateway_load_reports_total") or 0
    await until(lambda: (received("celadon_gateway_load_reports_total") or 0) >= seen + 3)
    assert gateway.heard.failovers == {}
