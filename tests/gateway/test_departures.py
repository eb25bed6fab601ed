"""Members that leave a live set, and deployments that are deleted, with the real Envoy under requests."""

import asyncio
from collections import Counter

import pytest

from celadon.domain.decisions.publication import Publication, SetRole
from celadon.domain.language.names import Epoch, RouteId
from celadon.gateway.load_reports import DrainLoad, EndpointKey, Leaver
from tests.gateway.conftest import Gateway, serving
from tests.gateway.replica import Replica
from tests.gateway.router import Router, until
from tests.gateway.traffic import BLUE, LOOPBACK, publication

pytestmark = pytest.mark.parts

STREAMS = 4
CLIENTS = 8


def live(epoch: int, stays: Replica, leaves: Replica, departure: int | None = None) -> Publication:
    """Return a publication of a live set of two, one of which may leave."""
    gone = {} if departure is None else {leaves.port: departure}
    return publication(epoch, {(BLUE, SetRole.LIVE): [stays.port, leaves.port]}, leaving=gone)


def leaver(replica: Replica, departure: int) -> Leaver:
    endpoint = EndpointKey(BLUE, LOOPBACK, replica.port)
    return Leaver(RouteId(f"{LOOPBACK}:{replica.port}"), Epoch(departure), BLUE, frozenset({endpoint}))


async def open_streams(router: Router, *replicas: Replica) -> list[asyncio.Task[str]]:
    """Open streams until each of the replicas has some."""
    streams: list[asyncio.Task[str]] = []
    while any(replica.running < STREAMS for replica in replicas):
        running = sum(replica.running for replica in replicas)
        streams.append(asyncio.create_task(router.stream()))
        await until(lambda before=running: sum(replica.running for replica in replicas) > before)
    return streams


class Asking:
    """Clients that ask without a pause, and what they were answered."""

    def __init__(self, router: Router) -> None:
        self.answers: Counter[int] = Counter()
        self._router = router
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(CLIENTS)]

    async def _ask(self) -> None:
        while not self._stop.is_set():
            self.answers[(await self._router.ask()).status] += 1

    async def more(self, count: int = 200) -> None:
        """Wait for so many more answers."""
        before = self.answers.total()
        await until(lambda: self.answers.total() >= before + count)

    async def stop(self) -> Counter[int]:
        """Return the answers by status, after the last."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        return self.answers


async def test_a_member_that_leaves_is_counted_by_itself_while_its_set_goes_on(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    await gateway.tell(live(2, blue, green))
    streams = await open_streams(router, blue, green)
    asking = Asking(router)
    await asking.more()
    running = green.running

    await gateway.tell(live(3, blue, green, departure=3))
    await until(lambda: gateway.heard.loads.get(leaver(green, 3)) == DrainLoad(running, 0))
    requests = green.requests
    await asking.more()
    assert green.requests == requests
    assert blue.running >= STREAMS
    green.finish.set()

    await until(lambda: gateway.heard.loads[leaver(green, 3)].zero_reports >= 2)
    assert green.running == 0
    await gateway.tell(publication(4, {(BLUE, SetRole.LIVE): [blue.port]}))
    await asking.more()
    assert await asking.stop() == Counter({200: asking.answers.total()})
    blue.finish.set()
    assert all(told.endswith("data: [DONE]\n\n") for told in await asyncio.gather(*streams))


async def test_zeros_are_not_counted_while_the_member_that_leaves_has_a_stream(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    await gateway.tell(live(2, blue, green))
    streams = await open_streams(router, blue, green)
    await gateway.tell(live(3, blue, green, departure=3))
    blue.finish.set()
    await until(lambda: blue.running == 0)
    gateway.heard.all_loads.clear()
    await until(lambda: len(gateway.heard.all_loads) >= 3)
    assert {load.zero_reports for load in gateway.heard.all_loads} == {0}
    assert {load.running for load in gateway.heard.all_loads} == {green.running}
    green.finish.set()
    await asyncio.gather(*streams)


async def test_a_member_that_is_taken_back_serves_again_and_leaves_anew(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    await gateway.tell(live(2, blue, green))
    await gateway.tell(live(3, blue, green, departure=3))
    await until(lambda: gateway.heard.loads.get(leaver(green, 3), DrainLoad(1, 0)).zero_reports >= 2)

    await gateway.tell(live(4, blue, green))
    streams = await open_streams(router, blue, green)
    running = green.running
    await gateway.tell(live(5, blue, green, departure=5))

    await until(lambda: gateway.heard.loads.get(leaver(green, 5)) == DrainLoad(running, 0))
    for replica in (blue, green):
        replica.finish.set()
    await asyncio.gather(*streams)
    await until(lambda: gateway.heard.loads[leaver(green, 5)].zero_reports >= 2)


async def test_a_gateway_that_takes_over_goes_on_counting_the_member_that_leaves(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    await gateway.tell(live(2, blue, green))
    streams = await open_streams(router, blue, green)
    running = green.running
    await gateway.tell(live(3, blue, green, departure=3))
    await gateway.server.stop()

    async with serving([live(3, blue, green, departure=3)], gateway.routing, gateway.address) as restarted:
        await until(lambda: restarted.heard.loads.get(leaver(green, 3)) == DrainLoad(running, 0))
        for replica in (blue, green):
            replica.finish.set()
        await asyncio.gather(*streams)
        await until(lambda: restarted.heard.loads[leaver(green, 3)].zero_reports >= 2)


async def test_a_request_to_a_deployment_that_is_deleted_is_served_or_finds_no_route(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    """Nothing in between: no request meets a deployment whose replicas all drain."""
    for epoch in range(2, 22, 2):
        await gateway.tell(live(epoch, blue, green))
        await until(lambda: _status_is(router, 200))
        asking = Asking(router)
        await asking.more(50)

        both = publication(epoch + 1, {(BLUE, SetRole.DRAINING): [blue.port, green.port]}, routed=False)
        await gateway.tell(both)
        await until(lambda: _status_is(router, 404))

        answers = await asking.stop()
        assert set(answers) <= {200, 404}, answers
        assert answers[200] >= 50


async def test_streams_of_a_deployment_that_is_deleted_run_to_their_end_and_are_counted(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    await gateway.tell(live(2, blue, green))
    streams = await open_streams(router, blue, green)

    await gateway.tell(publication(3, {(BLUE, SetRole.DRAINING): [blue.port, green.port]}, routed=False))

    assert (await router.ask()).status == 404
    await until(lambda: gateway.heard.loads.get(BLUE) == DrainLoad(len(streams), 0))
    assert await router.counter("cluster.chat.upstream_rq_active") == len(streams)
    for replica in (blue, green):
        replica.finish.set()
    assert all(told.endswith("data: [DONE]\n\n") for told in await asyncio.gather(*streams))
    await until(lambda: gateway.heard.loads[BLUE].zero_reports >= 2)

    gateway.server.publish([], ["chat"])
    await until(lambda: _has_no_cluster(router))
    assert (await router.ask()).status == 404


async def _status_is(router: Router, status: int) -> bool:
    return (await router.ask()).status == status


async def _has_no_cluster(router: Router) -> bool:
    return "chat::" not in await router.ask_admin("/clusters")
