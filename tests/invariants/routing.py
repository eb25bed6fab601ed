"""Routers without Envoy: what each one serves is known here, so that using a stopped set is seen and not believed."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from celadon.domain.decisions.publication import Endpoint, EndpointState, Publication, publish
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.names import RouterNode
from celadon.domain.language.states import Channel
from celadon.table.core.author import Author
from celadon.table.core.engine import Table
from celadon.table.routers.enrolments import NewEnrolment, enrol_router
from celadon.table.routers.reports import (
    DepartureLoad,
    SetLoad,
    record_departures,
    record_load,
    router_acknowledged,
    router_connected,
    router_refused,
    router_seen,
)
from celadon.table.routers.router_admin import forget_router
from celadon.table.routers.traffic import read_traffic

_SOMEBODY: Final = Author(by="ann", door=Channel.CLI, reason="scaled in")


@dataclass
class ModelRouter:
    """One Envoy: what it was given last, and whether its stream is up."""

    node: str
    is_connected: bool = False
    serves: Publication | None = None
    was_given_up: bool = False
    """Whether it was held for gone since it took its configuration; then nobody waits for it."""

    @property
    def uses(self) -> tuple[Endpoint, ...]:
        """The replicas to which it may send a new request."""
        if self.serves is None or not self.serves.routed:
            return ()
        return tuple(one for one in self.serves.endpoints if one.state is EndpointState.HEALTHY)


class ModelRouters:
    """All routers of a test."""

    def __init__(self, table: Table, deployment: str, count: int) -> None:
        self._table = table
        self._deployment = deployment
        self.all = [ModelRouter(f"router-{number}") for number in range(count)]

    async def connect(self, router: ModelRouter) -> None:
        """Let a router open a stream; until it takes something it serves what it served before."""
        async with self._table.transaction() as tx:
            await enrol_router(tx, NewEnrolment(node=RouterNode(router.node)), _SOMEBODY)
            await router_connected(tx, router.node, "gateway-1")
        router.is_connected = True

    async def take(self, router: ModelRouter, *, acknowledges: bool) -> None:
        """Let a router take the newest configuration; the table hears of it only when it acknowledges."""
        async with self._table.transaction() as tx:
            traffic = await read_traffic(tx, self._deployment)
        if traffic is None:
            return
        router.serves = publish(traffic)
        router.was_given_up = False
        if acknowledges:
            async with self._table.transaction() as tx:
                await router_acknowledged(tx, router.node, {self._deployment: traffic.epoch})

    async def refuse(self, router: ModelRouter) -> None:
        """Let a router refuse the newest configuration: it goes on as before."""
        async with self._table.transaction() as tx:
            await router_refused(tx, router.node, "no such cluster")

    async def report(self, router: ModelRouter, running: int) -> None:
        """Let a router report the load of the sets that it serves as draining."""
        if router.serves is None:
            return
        draining = {
            endpoint.route_set for endpoint in router.serves.endpoints if endpoint.state is EndpointState.DRAINING
        }
        loads = [
            SetLoad(route_set=route_set, epoch=router.serves.epoch, running=running, zero_reports=0 if running else 2)
            for route_set in sorted(draining)
        ]
        departures = [
            DepartureLoad(
                route=endpoint.departure.route,
                epoch=endpoint.departure.epoch,
                running=running,
                zero_reports=0 if running else 2,
            )
            for endpoint in router.serves.endpoints
            if endpoint.departure is not None and endpoint.state is EndpointState.DRAINING
        ]
        async with self._table.transaction() as tx:
            await record_load(tx, router.node, loads)
            await record_departures(tx, router.node, departures)

    async def seen(self) -> None:
        """Keep the routers alive whose streams are up."""
        async with self._table.transaction() as tx:
            await router_seen(tx, [one.node for one in self.all if one.is_connected])

    async def scale_in(self, router: ModelRouter) -> None:
        """Take a router away for good; an operator says so."""
        with suppress(RefusedError):
            async with self._table.transaction() as tx:
                await forget_router(tx, router.node, author=_SOMEBODY, force=True)
        router.is_connected, router.serves = False, None

    async def work(self, running: int = 0) -> None:
        """One round of a good day: all that are connected take what is new, acknowledge and report."""
        for router in self.all:
            if router.is_connected:
                await self.take(router, acknowledges=True)
                await self.report(router, running)
