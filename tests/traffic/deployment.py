"""A deployment of one blue and one green replica that a test switches, and the traffic that runs on it meanwhile."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count

from celadon.domain.decisions.drain import ENOUGH_ZERO_REPORTS
from celadon.domain.decisions.publication import SetRole
from celadon.domain.language.names import RouteSetId
from celadon.gateway.load_reports import DrainLoad
from tests.gateway.conftest import Gateway
from tests.gateway.grpc_replica import grpc_client
from tests.gateway.router import Router, until
from tests.gateway.traffic import LOOPBACK, publication
from tests.traffic.kinds import Address, Kind
from tests.traffic.ledger import Ledger
from tests.traffic.model_server import ModelServer

SENDERS = 4
PAUSE_SECONDS = 0.002

_sets = count(1)
_requests = count(1)


@dataclass
class Exchange:
    """A request that is held in its middle."""

    number: str
    task: asyncio.Task[str]
    ledger: Ledger

    async def end(self) -> str:
        """Let it go on to its end; return the colour of its answer, which was complete."""
        self.ledger.release(self.number)
        return await self.task

    async def leave(self) -> None:
        """Break it off, as a client does that goes away."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Flow:
    """Requests one after the other, each whole."""

    def __init__(self) -> None:
        """Begin with none."""
        self.answers: dict[str, str] = {}
        """Who has answered, by the request's number."""

    async def more(self, number: int = 2 * SENDERS) -> None:
        """Wait for so many more answers."""
        before = len(self.answers)
        await until(lambda: len(self.answers) >= before + number)

    async def send(self, kind: Kind, to: Address, stop: asyncio.Event) -> None:
        """Send until told to stop."""
        while not stop.is_set():
            number = str(next(_requests))
            self.answers[number] = await kind(to, number)
            await asyncio.sleep(PAUSE_SECONDS)


@dataclass
class Deployment:
    """Blue is live at first."""

    name: str
    gateway: Gateway
    address: Address
    blue: ModelServer
    green: ModelServer
    blue_set: RouteSetId = field(default_factory=lambda: RouteSetId(next(_sets)))
    green_set: RouteSetId = field(default_factory=lambda: RouteSetId(next(_sets)))
    epoch: int = 0

    @property
    def ledger(self) -> Ledger:
        """What its replicas have worked on."""
        return self.address.ledger

    async def be_blue(self) -> None:
        """Let blue be live and green wait; return once the router serves it."""
        await self._tell({(self.blue_set, SetRole.LIVE): [self.blue], (self.green_set, SetRole.GREEN): [self.green]})

    async def switch(self) -> None:
        """Let green be live and blue drain."""
        await self._tell({(self.blue_set, SetRole.DRAINING): [self.blue], (self.green_set, SetRole.LIVE): [self.green]})

    async def switch_back(self) -> None:
        """Let blue be live and green drain."""
        await self._tell({(self.blue_set, SetRole.LIVE): [self.blue], (self.green_set, SetRole.DRAINING): [self.green]})

    async def begin(self, kind: Kind, number: int, size: int | None = None) -> list[Exchange]:
        """Send so many requests, and return once each is in its middle."""
        address = self.address if size is None else replace(self.address, size=size)
        begun = []
        for _ in range(number):
            request = str(next(_requests))
            self.ledger.hold(request)
            begun.append(Exchange(request, asyncio.create_task(kind(address, request)), self.ledger))
        for exchange in begun:
            half = asyncio.create_task(self.ledger.is_half_done(exchange.number))
            await asyncio.wait([half, exchange.task], return_when=asyncio.FIRST_COMPLETED)
            if exchange.task.done():
                half.cancel()
                await exchange.task
                raise AssertionError("a request that is held has ended")
            await half
        return begun

    async def runs(self, route_set: RouteSetId, number: int) -> None:
        """Wait until the router reports that so many requests run on a set that drains."""
        await until(lambda: self.gateway.heard.loads.get(route_set) == DrainLoad(number, 0))

    async def is_drained(self, route_set: RouteSetId) -> None:
        """Wait until the router's reports say for certain that nothing runs on a set."""
        await until(lambda: self._zeros(route_set) >= ENOUGH_ZERO_REPORTS)

    @asynccontextmanager
    async def under(self, kind: Kind) -> AsyncIterator[Flow]:
        """Send requests until the block ends; raises what a request raised, also that its answer was incomplete."""
        flow, stop = Flow(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(flow.send(kind, self.address, stop))
            yield flow
            stop.set()

    def _zeros(self, route_set: RouteSetId) -> int:
        load = self.gateway.heard.loads.get(route_set)
        return 0 if load is None else load.zero_reports

    async def _tell(self, sets: Mapping[tuple[RouteSetId, SetRole], list[ModelServer]]) -> None:
        self.epoch += 1
        self.gateway.heard.loads.clear()
        ports = {one: [server.port for server in servers] for one, servers in sets.items()}
        grpc = {server.port: server.grpc_port for servers in sets.values() for server in servers}
        await self.gateway.tell(publication(self.epoch, ports, self.name, grpc=grpc))


async def ends(exchanges: list[Exchange]) -> Counter[str]:
    """Let all go on to their ends; return how many ended on which colour."""
    return Counter(await asyncio.gather(*(one.end() for one in exchanges)))


@asynccontextmanager
async def deployed(name: str, gateway: Gateway, router: Router) -> AsyncIterator[Deployment]:
    """Run a deployment of its own replicas until the block ends."""
    ledger = Ledger()
    async with AsyncExitStack() as stack:
        blue, green = ModelServer("blue", ledger), ModelServer("green", ledger)
        for server in (blue, green):
            await stack.enter_async_context(server.listening())
        calls = await stack.enter_async_context(grpc_client(router.live, name))
        base = f"http://{LOOPBACK}:{router.live}"
        address = Address(router.client, calls, base, router.live, name, ledger)
        made = Deployment(name, gateway, address, blue, green)
        await made.be_blue()
        yield made
        gateway.server.publish([], [name])
