"""What gateways write down of routers, one statement at a time."""

from dataclasses import dataclass

from celadon.domain.language.names import Epoch, RouteId, RouterNode, RouteSetId
from celadon.domain.language.states import Channel
from celadon.table.core.author import Author
from celadon.table.core.engine import Table
from celadon.table.core.models import Route
from celadon.table.routers.enrolments import NewEnrolment, enrol_router
from celadon.table.routers.reports import (
    DepartureLoad,
    SetLoad,
    record_departures,
    record_load,
    router_acknowledged,
    router_connected,
)
from tests.keeper.rollouts import Deploying


@dataclass(frozen=True)
class Router:
    """What a gateway writes down of one router."""

    table: Table
    chat: Deploying
    node: str

    async def connect(self) -> None:
        """Serve what there is."""
        async with self.table.transaction() as tx:
            await enrol_router(tx, NewEnrolment(node=RouterNode(self.node)), Author(by="ann", door=Channel.CLI))
            await router_connected(tx, self.node, "gateway")
        await self.acknowledge()

    async def acknowledge(self) -> None:
        """Serve the newest epoch."""
        epoch = Epoch(await self.chat.epoch())
        async with self.table.transaction() as tx:
            await router_acknowledged(tx, self.node, {self.chat.name: epoch})

    async def report(self, route_set: RouteSetId, running: int, zero_reports: int = 0) -> None:
        """Report running requests."""
        async with self.table.transaction() as tx:
            epoch = Epoch(await self.chat.epoch())
            load = SetLoad(route_set=route_set, epoch=epoch, running=running, zero_reports=zero_reports)
            await record_load(tx, self.node, [load])

    async def report_departure(self, route: Route, running: int, zero_reports: int = 0) -> None:
        """Report running requests of a member that leaves."""
        assert route.leaving_epoch is not None
        load = DepartureLoad(
            route=RouteId(route.id),
            epoch=Epoch(route.leaving_epoch),
            running=running,
            zero_reports=zero_reports,
        )
        async with self.table.transaction() as tx:
            await record_departures(tx, self.node, [load])
