"""A keeper without processes: it writes of replicas what the real one would, on readings that may be out of date."""

import itertools
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.drain import DrainDecision, DrainVerdict, may_stop
from celadon.domain.language.names import Epoch, Fence, RouteId, RouteSetId
from celadon.domain.language.states import RouteHealthStatus, RouteSetState, RouteStatus
from celadon.table.core.engine import Table
from celadon.table.core.fences import LeaseLostError
from celadon.table.core.unfinished_rollouts import read_unfinished_rollouts
from celadon.table.replicas.abandoned_rollouts import abandon_rollout
from celadon.table.replicas.drain_reports import read_departure_reports, read_drain_reports
from celadon.table.replicas.keeper_reads import ManagedRoute, ManagedSet, read_managed_sets
from celadon.table.replicas.leases import renew_lease, take_lease
from celadon.table.replicas.outbox import OwedSignal, read_owed_signals, signal_taken
from celadon.table.replicas.routes import (
    add_route,
    mark_surplus,
    route_confirmed,
    route_ended,
    route_health,
    route_running,
    set_gone,
    stop_drained,
    stop_left,
    stop_unpublished,
    tell_condition,
)
from celadon.table.replicas.waiting_rollouts import read_waiting_rollouts, tell_when_caught_up

T = TypeVar("T")
_MANY: Final = 1000


class ModelKeeper:
    """Holds the lease, loses it, and acts on what it has read."""

    def __init__(self, table: Table, deployment: str) -> None:
        self._table = table
        self._deployment = deployment
        self._numbers = itertools.count(1)
        self.fences: list[Fence] = []
        """All that were ever held, the newest last."""
        self.is_alive = False
        self.readings: dict[RouteSetId, ManagedSet] = {}
        self._drains: dict[RouteSetId, DrainDecision] = {}
        self._departures: dict[tuple[RouteId, Epoch], DrainDecision] = {}

    @property
    def fence(self) -> Fence:
        """The newest fence."""
        return self.fences[-1]

    # The lease. A living keeper's is stretched, so that no slow machine lets it expire in the middle of a test.

    async def take(self) -> bool:
        """Take the lease, if it is free; forget everything, as a new keeper does."""
        async with self._table.transaction() as tx:
            fence = await take_lease(tx, f"keeper-{len(self.fences) + 1}")
            await self._stretch(tx)
        if fence is None:
            return False
        self.fences.append(fence)
        self.readings.clear()
        self._drains.clear()
        self._departures.clear()
        self.is_alive = True
        return True

    async def renew(self) -> None:
        """Stay alive."""
        async with self._table.transaction() as tx:
            await renew_lease(tx, self.fence)
            await self._stretch(tx)

    async def _stretch(self, tx: AsyncSession) -> None:
        await tx.execute(
            text("update keepers set seen_at = now() + interval '1 hour' where seen_at > now() - interval '3 s'"),
        )

    async def expire(self) -> None:
        """Let so much time pass without a renewal that the lease is anybody's."""
        self.is_alive = False
        async with self._table.transaction() as tx:
            await tx.execute(text("update keepers set seen_at = to_timestamp(0)"))

    async def write(self, change: Callable[[AsyncSession, Fence], Awaitable[T]], fence: Fence | None = None) -> T:
        """Write in one transaction under the newest fence, or an older one."""
        async with self._table.transaction() as tx:
            return await change(tx, self.fence if fence is None else fence)

    async def write_under_an_old_fence(self, kept: ManagedSet, fence: Fence) -> bool:
        """Try to write as a keeper that has lost its lease; false when it was kept from it."""
        try:
            if kept.routes:
                route = kept.routes[0].route
                await self.write(lambda tx, held: stop_drained(tx, held, kept, cut=False), fence)
                await self.write(
                    lambda tx, held: route_health(tx, held, kept, route, health=RouteHealthStatus.UNHEALTHY, error="x"),
                    fence,
                )
            else:
                await self._add(kept, fence)
        except LeaseLostError:
            return False
        return True

    # Reading and deciding.

    async def read(self) -> None:
        """Read the sets anew, and decide on those that drain."""
        async with self._table.transaction() as tx:
            sets = await read_managed_sets(tx, [self._deployment])
            reports = await read_drain_reports(tx, [one.route_set for one in sets])
            departures = await read_departure_reports(tx, [one.route_set for one in sets])
        self._departures = {
            (one.route, one.leaving_epoch): may_stop(
                departures.routers[one.route, one.leaving_epoch],
                was_live=kept.was_live,
                past_deadline=departures.at >= one.leaving_deadline,
                past_router_patience=departures.at >= one.leaving_deadline + kept.router_ack_timeout,
            )
            for kept in sets
            for one in kept.leaving
            if one.leaving_epoch is not None and one.leaving_deadline is not None
        }
        for kept in sets:
            known = self.readings.get(kept.route_set)
            if known is None or known.drain_epoch != kept.drain_epoch:
                self._drains.pop(kept.route_set, None)
            if kept.drain_deadline is not None:
                self._drains[kept.route_set] = may_stop(
                    reports.routers[kept.route_set],
                    was_live=kept.was_live,
                    past_deadline=reports.at >= kept.drain_deadline,
                    past_router_patience=reports.at >= kept.drain_deadline + kept.router_ack_timeout,
                )
        self.readings = {kept.route_set: kept for kept in sets}

    # What it does for one set, by its reading.

    async def fill(self, kept: ManagedSet) -> None:
        """Keep an open set full."""
        if kept.due is not kept.version.condition:
            await self.write(lambda tx, fence: tell_condition(tx, fence, kept))
        for route in kept.leaving:
            await self._stop_left(kept, route)
        present = [
            route.route
            for route in kept.routes
            if route.status is not RouteStatus.TERMINATING and route.leaving_epoch is None
        ]
        surplus = len(present) - kept.wanted
        if surplus > 0:
            await self.write(lambda tx, fence: mark_surplus(tx, fence, kept))
        if not kept.failed:
            for _ in range(-surplus):
                await self._add(kept)

    async def _stop_left(self, kept: ManagedSet, route: ManagedRoute) -> None:
        decision = None if route.leaving_epoch is None else self._departures.get((route.route, route.leaving_epoch))
        if decision is not None and decision.verdict is not DrainVerdict.WAIT:
            cut = decision.verdict is DrainVerdict.CUT
            await self.write(lambda tx, fence: stop_left(tx, fence, kept, route, cut=cut))

    async def empty(self, kept: ManagedSet) -> None:
        """Let a draining set become empty as its drain was decided."""
        if not kept.routes:
            await self.write(lambda tx, fence: set_gone(tx, fence, kept))
        if any(route.status is RouteStatus.PROVISIONING for route in kept.routes):
            await self.write(lambda tx, fence: stop_unpublished(tx, fence, kept))
        decision = self._drains.get(kept.route_set)
        if decision is not None and decision.verdict is not DrainVerdict.WAIT:
            cut = decision.verdict is DrainVerdict.CUT
            await self.write(lambda tx, fence: stop_drained(tx, fence, kept, cut=cut))

    async def look_after(self, kept: ManagedSet, route: ManagedRoute) -> None:
        """Let one replica take its next good step: it runs, it is healthy, it is seen, it has stopped."""
        if route.status is RouteStatus.PROVISIONING:
            await self.write(lambda tx, fence: route_running(tx, fence, kept, route.route))
        elif route.status is RouteStatus.TERMINATING:
            await self.end(kept, route.route, failed=False)
        elif route.health is not RouteHealthStatus.HEALTHY:
            await self.see(kept, route.route, RouteHealthStatus.HEALTHY)
        else:
            await self.write(lambda tx, fence: route_confirmed(tx, fence, kept, route.route))

    async def see(self, kept: ManagedSet, route: RouteId, health: RouteHealthStatus) -> None:
        """Write an edge of health down."""
        error = "" if health is RouteHealthStatus.HEALTHY else "status 503"
        await self.write(lambda tx, fence: route_health(tx, fence, kept, route, health=health, error=error))

    async def end(self, kept: ManagedSet, route: RouteId, *, failed: bool) -> None:
        """Write the end of a replica down: it crashed, or it was stopped."""
        await self.write(
            lambda tx, fence: route_ended(
                tx,
                fence,
                kept,
                route,
                status=RouteStatus.TERMINATED,
                error="exit code 1" if failed else "",
                failed=failed,
            ),
        )

    async def _add(self, kept: ManagedSet, fence: Fence | None = None) -> None:
        number = next(self._numbers)
        route = RouteId(str(uuid.UUID(int=number)))
        port = 1024 + number % 60_000
        await self.write(
            lambda tx, held: add_route(tx, held, kept.route_set, route, host="127.0.0.1", port=port),
            fence,
        )

    # What it does all the time.

    async def work(self) -> None:
        """One round of a good day: read, keep every set, tell rollouts whose routers have caught up."""
        await self.read()
        for kept in self.readings.values():
            for route in kept.routes:
                await self.look_after(kept, route)
            if kept.state is RouteSetState.OPEN:
                await self.fill(kept)
            else:
                await self.empty(kept)
        await self.tell_caught_up()

    async def tell_caught_up(self) -> None:
        """Tell rollouts that wait for routers."""
        async with self._table.transaction() as tx:
            waiting = await read_waiting_rollouts(tx)
        for one in waiting:
            await self.write(partial(tell_when_caught_up, waiting=one))

    async def end_left_rollouts(self, *, is_running: bool) -> None:
        """Compare with Temporal: end what no workflow carries any more."""
        async with self._table.transaction() as tx:
            left = await read_unfinished_rollouts(tx)
        for one in left:
            if not is_running:
                await self.write(partial(abandon_rollout, left=one, why="terminated"))

    async def owed(self) -> list[OwedSignal]:
        """Return the signals that are owed."""
        async with self._table.transaction() as tx:
            return list(await read_owed_signals(tx, _MANY))

    async def taken(self, owed: OwedSignal) -> None:
        """Forget a signal that was taken."""
        await self.write(lambda tx, fence: signal_taken(tx, fence, owed))
