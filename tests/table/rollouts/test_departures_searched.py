"""Random scalings, departures, crashes, turns of health and steps of rollouts, on the real table.

After each step: what is live wants what the deployment does, a live set that wants any and has a member which ever was
healthy and runs is published with one, and no member is stopped for its departure but the one that was decided about.
"""

import random
import uuid
from collections.abc import Awaitable, Callable

import pytest

from celadon.domain.decisions.publication import EndpointState, publish
from celadon.domain.language.names import RouteId
from celadon.domain.language.states import RolloutOutcome, RouteHealthStatus, RouteStatus
from celadon.table.core.models import Deployment
from celadon.table.replicas.keeper_reads import ManagedRoute, ManagedSet, read_managed_sets
from celadon.table.replicas.routes import add_route, mark_surplus, route_ended, route_health, route_running
from celadon.table.routers.traffic import read_traffic
from tests.table.rows import HEALTHY, Opened, Rows

STEPS = 40
MOST_REPLICAS = 3


class Search:
    """One deployment that is handled at random."""

    def __init__(self, rows: Rows, seed: int) -> None:
        self.rows = rows
        self.chance = random.Random(seed)
        self.under_way: Opened | None = None
        self.runs = 1
        self.decided: list[tuple[ManagedSet, ManagedRoute]] = []
        self.steps: list[Callable[[], Awaitable[None]]] = [
            self.scale,
            self.scale_and_leave,
            self.scale_and_leave,
            self.leave,
            self.fill,
            self.fill,
            self.turn,
            self.turn,
            self.crash,
            self.crash,
            self.decide,
            self.stop_decided,
            self.go_on,
        ]

    async def sets(self) -> list[ManagedSet]:
        async with self.rows.table.transaction() as tx:
            return await read_managed_sets(tx, ["chat"])

    async def any_set(self) -> ManagedSet:
        """Return a set, most often the oldest, which most often is the live one."""
        sets = await self.sets()
        return sets[0] if self.chance.random() < 0.6 else self.chance.choice(sets)

    async def scale(self) -> None:
        await self.rows.scale(self.chance.randint(0, MOST_REPLICAS))

    async def scale_and_leave(self) -> None:
        """Scale a full set down, and let the keeper hear of it at once."""
        await self.rows.scale(MOST_REPLICAS)
        await self.fill()
        await self.rows.scale(1)
        await self.leave()

    async def leave(self) -> None:
        for kept in await self.sets():
            async with self.rows.table.transaction() as tx:
                await mark_surplus(tx, self.rows.fence, kept)

    async def fill(self) -> None:
        """Add what a set lacks; most of it runs and is healthy at once."""
        kept = await self.any_set()
        while await self._add(kept):
            pass

    async def _add(self, kept: ManagedSet) -> bool:
        route = RouteId(str(uuid.uuid4()))
        async with self.rows.table.transaction() as tx:
            if not await add_route(tx, self.rows.fence, kept.route_set, route, host="127.0.0.1", port=9000):
                return False
            if self.chance.random() < 0.8:
                await route_running(tx, self.rows.fence, kept, route)
                await route_health(tx, self.rows.fence, kept, route, health=HEALTHY, error="")
        return True

    async def turn(self) -> None:
        kept = await self.any_set()
        running = [one for one in kept.routes if one.status is RouteStatus.RUNNING]
        if running:
            health = self.chance.choice([HEALTHY, RouteHealthStatus.UNHEALTHY, RouteHealthStatus.DEGRADED])
            async with self.rows.table.transaction() as tx:
                route = self.chance.choice(running).route
                await route_health(tx, self.rows.fence, kept, route, health=health, error="")

    async def crash(self) -> None:
        """End a replica; those that stay are hit first, for it is them that others may have to replace."""
        kept = await self.any_set()
        staying = [one for one in kept.routes if one.leaving_epoch is None]
        if kept.routes:
            async with self.rows.table.transaction() as tx:
                route = self.chance.choice(staying or kept.routes).route
                await route_ended(tx, self.rows.fence, kept, route, status=RouteStatus.TERMINATED, failed=False)

    async def decide(self) -> None:
        """Find that some leaving member has drained; the keeper acts on that later."""
        self.decided += [(kept, route) for kept in await self.sets() for route in kept.leaving]

    async def stop_decided(self) -> None:
        if not self.decided:
            return
        kept, route = self.decided.pop(self.chance.randrange(len(self.decided)))
        row = await self.rows.rows(
            "select leaving_epoch, status, state from routes join route_sets on route_sets.id = set_id "
            "where routes.id = :id",
            id=uuid.UUID(route.route),
        )
        stopped = await self.rows.stop_left(kept, route)
        same = (row[0]["leaving_epoch"], row[0]["status"], row[0]["state"]) == (route.leaving_epoch, "running", "open")
        assert stopped == ({route.route} if same else frozenset())

    async def go_on(self) -> None:
        """Take the next step of a rollout, or begin one."""
        if self.under_way is None:
            self.runs += 1
            self.under_way = await self.rows.open(f"run-{self.runs}", policy={"min_healthy": 1})
            return
        rollout = self.under_way
        [row] = await self.rows.rows("select * from rollouts where outcome is null")
        switched = row["switch_epoch"] is not None
        ways = ["finish", "switch_back"] if switched else ["switch", "switch", "finish"]
        match self.chance.choice(ways):
            case "switch":
                await self.rows.switch(rollout)
            case "switch_back":
                await self.rows.switch_back(rollout)
            case _:
                outcome = RolloutOutcome.PROMOTED if switched else RolloutOutcome.ABORTED
                await self.rows.finish(rollout, outcome)
                self.under_way = None
                await self.end_draining()

    async def end_draining(self) -> None:
        """Let the replicas of draining sets end, so that what is left stays small."""
        await self.rows.sql(
            "update routes set status = 'terminated', ended_at = now() from route_sets "
            "where route_sets.id = set_id and state = 'draining' and ended_at is null",
        )
        await self.rows.sql("update route_sets set state = 'gone' where state = 'draining'")

    async def check(self) -> None:
        """Check what must hold after each step."""
        async with self.rows.table.transaction() as tx:
            deployment = await tx.get_one(Deployment, "chat")
            live = next(one for one in await read_managed_sets(tx, ["chat"]) if one.route_set == deployment.live_set)
            traffic = await read_traffic(tx, "chat")
        assert traffic is not None
        assert deployment.replicas == live.wanted
        fed = {one.port for one in publish(traffic).endpoints if one.state is EndpointState.HEALTHY}
        runs = any(one.status is RouteStatus.RUNNING for one in live.routes)
        assert fed or not live.wanted or not runs
        leaving = {one.route for one in live.leaving}
        staying = [one for one in live.routes if one.route not in leaving and one.status is RouteStatus.RUNNING]
        assert staying or not leaving or not live.wanted


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_breaks_what_must_hold(rows: Rows, seed: int) -> None:
    await rows.live(replicas=2)
    search = Search(rows, seed)
    for _ in range(STEPS):
        await search.chance.choice(search.steps)()
        await search.check()
