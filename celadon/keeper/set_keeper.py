"""One set: kept full while it is open, emptied while it drains."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, assert_never

import structlog

from celadon.domain.decisions.drain import DrainDecision, DrainVerdict
from celadon.domain.language.names import Epoch, RouteId
from celadon.domain.language.states import RouteHealthStatus, RouteSetState, RouteStatus
from celadon.keeper.backoff import StartBackoff
from celadon.keeper.faults import attempt, survive
from celadon.keeper.replica_keeper import ReplicaKeeper, Tools, place_of
from celadon.provisioners.protocol import Address, ReplicaProvisioner
from celadon.racing import task_group, wait_at_most
from celadon.table.replicas.keeper_reads import ManagedRoute, ManagedSet
from celadon.table.replicas.routes import (
    add_route,
    mark_surplus,
    set_gone,
    stop_drained,
    stop_left,
    stop_unpublished,
    tell_condition,
)

_NO_ADDRESS_SECONDS: Final = 5.0

log = structlog.get_logger()


class SetKeeper:
    """Looks after one set and its replicas.

    It acts on readings of the table that may be out of date; each write checks its reason again. Which replicas there
    are it knows from its own tasks, one for every replica that has not ended. An unexpected error in one of them, or in
    a step of its own, stops none of the others; whoever met it goes on from what the table says by then.
    """

    def __init__(
        self,
        tools: Tools,
        provisioner: ReplicaProvisioner,
        managed: ManagedSet,
        *,
        addresses_in_use: Callable[[], frozenset[Address]],
        reread: Callable[[], Awaitable[None]],
    ) -> None:
        """Take over a set as its row says.

        Args:
            tools: what replicas' keepers work with.
            provisioner: who runs the set's replicas.
            managed: the set, as it was read last.
            addresses_in_use: gives the addresses of all sets.
            reread: reads the set anew and hands it to :meth:`update`, or calls :meth:`is_gone`.

        """
        self._tools = replace(tools, table=tools.table.in_turn())
        self._provisioner = provisioner
        self._addresses_in_use = addresses_in_use
        self._reread = reread
        self._is_outdated = False
        """Whether a fault came between a reading and what it asked for."""
        self._was_run = False
        self._changed = asyncio.Event()
        self._replicas: dict[RouteId, ReplicaKeeper] = {}
        """Oldest first."""
        self._ended: set[RouteId] = set()
        """Replicas that an old reading may still have."""
        self._backoff = StartBackoff()
        self._drain: DrainDecision | None = None
        self._departures: dict[tuple[RouteId, Epoch], DrainDecision] = {}
        """What was decided of members that leave, each for one departure."""
        self.managed = managed

    @property
    def addresses(self) -> frozenset[Address]:
        """The addresses of its replicas that have not ended."""
        rows = (*(one.row for one in self._replicas.values()), *self.managed.routes)
        return frozenset().union(*(place_of(self.managed.revision, row).addresses for row in rows))

    @property
    def awaits_drain(self) -> bool:
        """Whether replicas of it run that may stop only once they have drained."""
        return self.managed.state is RouteSetState.DRAINING and any(
            row.status is not RouteStatus.TERMINATING for row in self.managed.routes
        )

    def update(self, managed: ManagedSet) -> None:
        """Take a newer reading of the table."""
        if managed.drain_epoch != self.managed.drain_epoch:
            self._drain = None
        self.managed = managed
        self._changed.set()

    def is_gone(self) -> None:
        """Take note that the table holds the set for gone."""
        version = self.managed.version.model_copy(update={"state": RouteSetState.GONE})
        self.update(self.managed.model_copy(update={"version": version, "routes": ()}))

    def decide(self, drain: DrainDecision) -> None:
        """Take a newer decision on its drain."""
        if self._drain != drain:
            self._drain = drain
            log.info("drain", **self._names(), verdict=drain.verdict.value, why=drain.why)
            self._changed.set()

    def decide_departures(self, departures: Mapping[tuple[RouteId, Epoch], DrainDecision]) -> None:
        """Take newer decisions on members that leave; those that no longer do are forgotten."""
        if departures == self._departures:
            return
        for (route, _), decision in departures.items() - self._departures.items():
            log.info("departure", **self._names(), route=route, verdict=decision.verdict.value, why=decision.why)
        self._departures = dict(departures)
        self._changed.set()

    async def run(self) -> None:
        """Look after the set until it is gone.

        Raises:
            LeaseLostError: the keeper must not act any more; the replicas go on. (In a group.)

        """
        self._is_outdated, self._was_run = self._was_run, True
        self._replicas.clear()
        async with task_group() as group:
            while self.managed.state is not RouteSetState.GONE:
                self._changed.clear()
                await wait_at_most(self._changed, await self._attempt_step(group))

    async def _attempt_step(self, group: asyncio.TaskGroup) -> float | None:
        """Do one step; after an unexpected error rest, and let the next step begin with a new reading."""
        pause: float | None = 0.0

        async def step() -> None:
            nonlocal pause
            if self._is_outdated:
                await self._reread()
            pause = await self._step(group)

        if await attempt("set", step, self._tools.metrics, **self._names()):
            self._is_outdated = False
        else:
            self._is_outdated = True
            await asyncio.sleep(self._tools.times.fault.total_seconds())
        return pause

    async def _step(self, group: asyncio.TaskGroup) -> float | None:
        """Do what the newest reading asks for; return after how many seconds at most to come again."""
        self._ended &= {route.route for route in self.managed.routes}
        for row in self.managed.routes:
            if row.route in self._replicas:
                if row.status is RouteStatus.TERMINATING:
                    self._replicas[row.route].stop()
            elif row.route not in self._ended:
                self._look_after(group, row)
        match self.managed.state:
            case RouteSetState.OPEN:
                return await self._fill(group)
            case RouteSetState.DRAINING:
                return await self._empty()
            case RouteSetState.GONE:
                return None
            case _:
                assert_never(self.managed.state)

    async def _fill(self, group: asyncio.TaskGroup) -> float | None:
        managed = self.managed
        if managed.due is not managed.version.condition:
            await self._tools.table.write(lambda tx, fence: tell_condition(tx, fence, managed))
        await self._stop_left()
        leaving = {route.route for route in managed.routes if route.leaving_epoch is not None}
        present = [route for route, one in self._replicas.items() if not one.is_stopping and route not in leaving]
        surplus = len(present) - managed.wanted
        if surplus > 0:
            left = await self._tools.table.write(lambda tx, fence: mark_surplus(tx, fence, managed))
            self._stop(left.stopped)
            if left.drained:
                log.info("replicas_leave", **self._names(), wanted=managed.wanted, routes=sorted(left.drained))
            return None if left.stopped or left.drained else self._tools.times.refused.total_seconds()
        if surplus == 0 or managed.failed:
            return None
        return self._backoff.remaining() or await self._add(group, managed, -surplus)

    async def _stop_left(self) -> None:
        """Stop the members that leave and have drained."""
        for route in self.managed.leaving:
            await self._stop_departed(self.managed, route)

    async def _stop_departed(self, managed: ManagedSet, route: ManagedRoute) -> None:
        decision = None if route.leaving_epoch is None else self._departures.get((route.route, route.leaving_epoch))
        if decision is not None and decision.verdict is not DrainVerdict.WAIT:
            cut = decision.verdict is DrainVerdict.CUT
            self._stop(await self._tools.table.write(lambda tx, fence: stop_left(tx, fence, managed, route, cut=cut)))

    async def _add(self, group: asyncio.TaskGroup, managed: ManagedSet, missing: int) -> float | None:
        """Write down so many more replicas and start them."""
        main = managed.revision.main_port
        for _ in range(missing):
            place = self._provisioner.choose_place(managed.revision, self.addresses, self._addresses_in_use())
            if place is None:
                log.warning("no_address", **self._names())
                return _NO_ADDRESS_SECONDS
            row = ManagedRoute(
                route=RouteId(str(uuid.uuid4())),
                host=place.host,
                port=place.ports[main],
                other_ports={name: number for name, number in place.ports.items() if name != main},
                status=RouteStatus.PROVISIONING,
                health=RouteHealthStatus.NOT_CHECKED,
            )
            if not await self._write_down(managed, row):
                return self._tools.times.refused.total_seconds()
            self._look_after(group, row)
        return None

    async def _write_down(self, managed: ManagedSet, row: ManagedRoute) -> bool:
        return await self._tools.table.write(
            lambda tx, fence: add_route(
                tx,
                fence,
                managed.route_set,
                row.route,
                host=row.host,
                port=row.port,
                other_ports=row.other_ports,
            ),
        )

    async def _empty(self) -> float | None:
        managed = self.managed
        if (
            not self._replicas
            and not managed.routes
            and await self._tools.table.write(
                lambda tx, fence: set_gone(tx, fence, managed),
            )
        ):
            log.info("set_gone", **self._names())
            self.is_gone()
            return None
        if any(row.status is RouteStatus.PROVISIONING for row in managed.routes):
            self._stop(await self._tools.table.write(lambda tx, fence: stop_unpublished(tx, fence, managed)))
        if self._drain is not None and self._drain.verdict is not DrainVerdict.WAIT and self.awaits_drain:
            cut = self._drain.verdict is DrainVerdict.CUT
            self._stop(await self._tools.table.write(lambda tx, fence: stop_drained(tx, fence, managed, cut=cut)))
        return self._tools.times.refused.total_seconds()

    def _stop(self, routes: frozenset[RouteId]) -> None:
        for route in routes & self._replicas.keys():
            self._replicas[route].stop()

    def _look_after(self, group: asyncio.TaskGroup, row: ManagedRoute) -> None:
        self._replicas[row.route] = ReplicaKeeper(self._tools, self._provisioner, self.managed, row)
        group.create_task(self._run_replica(row.route), name=f"replica-{row.route}")

    async def _run_replica(self, route: RouteId) -> None:
        await survive(
            "replica", lambda: self._pursue(route), self._tools.metrics, self._tools.times, **self._names(), route=route
        )
        self._ended.add(route)
        del self._replicas[route]
        self._changed.set()

    async def _pursue(self, route: RouteId) -> None:
        """Look after a replica until it has ended and is forgotten; after a fault from what its row says by then."""
        replica = self._replicas[route]
        if replica.was_run:
            await self._reread()
            row = next((one for one in self.managed.routes if one.route == route), None)
            if row is None:
                # Its end is written down, so another may take its place while the rest of it is cleared away.
                replica.stop()
                self._changed.set()
                await self._provisioner.end_stray(route)
                return
            replica = self._replicas[route] = ReplicaKeeper(self._tools, self._provisioner, self.managed, row)
        end = await replica.run()
        if end.by_itself:
            self._backoff.failed(end.lived)

    def _names(self) -> dict[str, object]:
        return {"deployment": self.managed.deployment, "route_set": self.managed.route_set}
