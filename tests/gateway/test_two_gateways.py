"""Two gateways at once, on the real Envoy: it goes from one to the other, and each counts what it should."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from celadon.domain.decisions.publication import Publication
from celadon.gateway.load_reports import DrainLoad
from celadon.gateway.routing import Routing
from tests.gateway.conftest import Gateway, serving
from tests.gateway.load import under_load
from tests.gateway.replica import Replica
from tests.gateway.router import DEADLINE_SECONDS, Router, running_router, until
from tests.gateway.traffic import BLUE, after_switch, before_switch

pytestmark = pytest.mark.parts

STREAMS = 3


@dataclass
class Two:
    """A router that knows two gateways, and the gateways."""

    router: Router
    gateways: tuple[Gateway, Gateway]

    def publish(self, publication: Publication) -> None:
        """Publish at both, as when both have heard of the same change."""
        for gateway in self.gateways:
            gateway.server.publish([publication])

    async def acknowledged(self, epoch: int) -> Gateway:
        """Wait until the router has acknowledged an epoch; return the gateway that heard it."""
        await until(lambda: any(one.heard.epoch() >= epoch for one in self.gateways))
        return next(one for one in self.gateways if one.heard.epoch() >= epoch)


@asynccontextmanager
async def two_gateways(loaded: Publication, ports: Routing, directory: Path) -> AsyncIterator[Two]:
    """Run both gateways and a router that tries the first one first."""
    assert ports.preview is not None
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(serving([loaded], ports))
        first = await stack.enter_async_context(serving([loaded], ports))
        router = await stack.enter_async_context(
            running_router(
                directory,
                first.address,
                ports.live.port,
                ports.preview.port,
                other_gateways=[second.address],
            ),
        )
        made = Two(router, (first, second))
        await made.acknowledged(1)
        await until(router.listens)
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def two(blue: Replica, green: Replica, ports: Routing, tmp_path: Path) -> AsyncIterator[Two]:
    """Run two gateways that have the deployment chat before its switch, as epoch 1, and a router of both."""
    async with two_gateways(before_switch(1, [blue.port], [green.port]), ports, tmp_path) as made:
        yield made


async def test_a_router_goes_to_the_other_gateway_when_its_own_is_away(
    two: Two,
    blue: Replica,
    green: Replica,
) -> None:
    async with under_load(two.router) as load:
        first = await two.acknowledged(1)
        second = next(one for one in two.gateways if one is not first)
        await first.server.stop()
        await until(lambda: second.heard.epoch() == 1)
        await second.tell(after_switch(2, [blue.port], [green.port]))
        await until(lambda: load.answers["green"] > 0)
    assert load.failed == 0


async def test_load_reports_arrive_where_the_router_takes_its_routes_from(
    two: Two,
    blue: Replica,
    green: Replica,
) -> None:
    """The router opens its two streams to the gateways in turn, so at first they end at different ones."""
    streams = [asyncio.create_task(two.router.stream()) for _ in range(STREAMS)]
    await until(lambda: blue.running == STREAMS)
    two.publish(after_switch(2, [blue.port], [green.port]))
    owner = await two.acknowledged(2)
    await until(lambda: owner.heard.loads.get(BLUE) == DrainLoad(STREAMS, 0), 2 * DEADLINE_SECONDS)
    blue.finish.set()
    await asyncio.gather(*streams)
    await until(lambda: owner.heard.loads[BLUE].zero_reports >= 2)
    assert all(one is owner or one.heard.loads == {} for one in two.gateways)
