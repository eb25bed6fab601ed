"""Transactions that run at once, on connections of their own, keep every invariant, whichever comes first.

What a story does one after the other happens here at the same time: any two to four of these, from any stage of a
rollout.
"""

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from celadon.domain.language.errors import RefusedError
from celadon.domain.language.names import RouteId, RouteSetId
from celadon.domain.language.states import Channel, RolloutOutcome, RouteHealthStatus, RouteStatus
from celadon.table.core.engine import Table
from celadon.table.core.models import Base
from celadon.table.core.unfinished_rollouts import UnfinishedRollout
from celadon.table.replicas.abandoned_rollouts import abandon_rollout
from celadon.table.replicas.keeper_reads import ManagedSet, read_managed_sets
from celadon.table.replicas.routes import add_route, route_ended, route_health, set_gone, stop_drained
from celadon.table.rollouts.scaling import ScaleOrder, scale
from tests.conftest import PATIENCE_SECONDS
from tests.invariants import rules
from tests.invariants.snapshot import Snapshot, take_snapshot
from tests.table.rows import NOW, Opened, Rows

RACES: Final = 60
_ports: Final = itertools.count(20_000)


class Race:
    """A deployment with blue and green, and what can happen to both at once."""

    def __init__(self, rows: Rows, blue: Opened, green: Opened, kept: dict[RouteSetId, ManagedSet]) -> None:
        self.rows = rows
        self.blue = blue
        self.green = green
        self.kept = kept

    @classmethod
    async def at(cls, rows: Rows, stage: str) -> "Race":
        """Bring a second rollout to a stage."""
        blue = await rows.live(replicas=2)
        green = await rows.ready("run-2")
        if stage in {"baking", "draining", "gone back"}:
            await rows.switch(green)
        if stage == "draining":
            await rows.close(green, green.blue)
        if stage == "gone back":
            await rows.switch_back(green)
        async with rows.table.transaction() as tx:
            kept = {one.route_set: one for one in await read_managed_sets(tx, ["chat"])}
        return cls(rows, blue, green, kept)

    async def switch(self) -> None:
        answer = await self.rows.switch(self.green)
        again = await self.rows.switch(self.green)
        assert answer.refusal is not None or again.epoch == answer.epoch

    async def switch_back(self) -> None:
        answer = await self.rows.switch_back(self.green)
        again = await self.rows.switch_back(self.green)
        assert answer.refusal is not None or again.epoch == answer.epoch

    async def close_green(self) -> None:
        await self._unless_refused(self.rows.close(self.green, self.green.green))

    async def close_blue(self) -> None:
        await self._unless_refused(self.rows.close(self.green, self.green.blue))

    async def finish(self) -> None:
        await self._unless_refused(self.rows.finish(self.green, RolloutOutcome.ABORTED))

    async def begin_another(self) -> None:
        await self._unless_refused(self.rows.begin("run-3", at=NOW.replace(year=2030)))

    async def begin_the_same(self) -> None:
        again = await self.rows.begin("run-2")
        assert again.rollout == self.green.begun.rollout

    async def abandon(self) -> None:
        begun = self.green.begun
        left = UnfinishedRollout(rollout=begun.rollout, deployment="chat", workflow_id="rollout-chat")
        async with self.rows.table.transaction() as tx:
            await abandon_rollout(tx, self.rows.fence, left, "terminated")

    async def add(self) -> None:
        for route_set in (self.green.blue, self.green.green):
            async with self.rows.table.transaction() as tx:
                route = RouteId(str(uuid.uuid4()))
                await add_route(tx, self.rows.fence, route_set, route, host="127.0.0.1", port=next(_ports))

    async def sicken_green(self) -> None:
        await self._write(self.green.green, RouteHealthStatus.UNHEALTHY)

    async def sicken_blue(self) -> None:
        await self._write(self.green.blue, RouteHealthStatus.UNHEALTHY)

    async def crash_green(self) -> None:
        kept = self.kept[self.green.green]
        async with self.rows.table.transaction() as tx:
            await route_ended(
                tx,
                self.rows.fence,
                kept,
                kept.routes[0].route,
                status=RouteStatus.TERMINATED,
                error="exit code 1",
                failed=True,
            )

    async def stop_blue(self) -> None:
        kept = self.kept[self.green.blue]
        async with self.rows.table.transaction() as tx:
            await stop_drained(tx, self.rows.fence, kept, cut=False)
        for route in kept.routes:
            async with self.rows.table.transaction() as tx:
                stopped = await self._status(route.route) is RouteStatus.TERMINATING
                if stopped:
                    await route_ended(
                        tx, self.rows.fence, kept, route.route, status=RouteStatus.TERMINATED, failed=False
                    )
        async with self.rows.table.transaction() as tx:
            await set_gone(tx, self.rows.fence, kept)

    async def scale(self) -> None:
        order = ScaleOrder(deployment="chat", replicas=3, by="ann", door=Channel.CLI)
        async with self.rows.table.transaction() as tx:
            await scale(tx, order)

    async def _status(self, route: RouteId) -> RouteStatus:
        return RouteStatus(await self.rows.value("select status from routes where id = :id", id=uuid.UUID(route)))

    async def _write(self, route_set: RouteSetId, health: RouteHealthStatus) -> None:
        kept = self.kept[route_set]
        async with self.rows.table.transaction() as tx:
            await route_health(tx, self.rows.fence, kept, kept.routes[0].route, health=health, error="status 503")

    async def _unless_refused(self, work: Awaitable[object]) -> None:
        try:
            await work
        except RefusedError:
            return


ACTIONS: Final[tuple[Callable[[Race], Awaitable[None]], ...]] = (
    Race.switch,
    Race.switch_back,
    Race.close_green,
    Race.close_blue,
    Race.finish,
    Race.begin_another,
    Race.begin_the_same,
    Race.abandon,
    Race.add,
    Race.sicken_green,
    Race.sicken_blue,
    Race.crash_green,
    Race.stop_blue,
    Race.scale,
)


@pytest.fixture
def world(database_url: str) -> Iterator[tuple[asyncio.Runner, Table]]:
    """Return the table on a loop of its own, because Hypothesis calls functions and no coroutines."""
    with asyncio.Runner() as runner:
        table = Table(database_url, "celadon-races", patience_seconds=PATIENCE_SECONDS)
        yield runner, table
        runner.run(table.close())


async def _race(table: Table, stage: str, actions: Sequence[Callable[[Race], Awaitable[None]]]) -> None:
    async with table.transaction() as tx:
        await tx.execute(text("set local session_replication_role = replica"))
        for one in Base.metadata.tables.values():
            await tx.execute(one.delete())
    race = await Race.at(await Rows.with_keeper(table), stage)
    before = await take_snapshot(table, "chat")
    await asyncio.gather(*(action(race) for action in actions))
    after = await take_snapshot(table, "chat")
    # One epoch may lie between two transactions that both changed traffic, but none may be shared by two states.
    rules.check(before, after)
    _check_switches(before, after)


def _check_switches(before: Snapshot, after: Snapshot) -> None:
    """What a rollout says of its switches is what the pointer says."""
    rollout = after.tables.rollouts[1]
    assert after.deployment is not None
    later = [one for one in after.tables.rollouts[2:] if one.switch_epoch is not None]
    assert not later
    gone_back = rollout.switch_back_epoch is not None
    switched = rollout.switch_epoch is not None
    assert after.deployment.live_set == (rollout.green_set if switched and not gone_back else rollout.blue_set)
    assert not (gone_back and not switched)
    if before.tables.rollouts[1].switch_epoch is None and switched:
        assert rollout.switch_epoch is not None
        assert before.deployment is not None
        assert before.deployment.epoch < rollout.switch_epoch <= after.deployment.epoch


@pytest.mark.parts
@pytest.mark.timeout(900)
def test_what_happens_at_once_keeps_every_rule(
    world: tuple[asyncio.Runner, Table],
    request: pytest.FixtureRequest,
) -> None:
    runner, table = world
    wanted = request.config.getoption("--stories", default=0)

    @settings(
        max_examples=wanted or RACES,
        derandomize=not wanted,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.sampled_from(["awaiting", "baking", "draining", "gone back"]),
        st.lists(st.sampled_from(ACTIONS), min_size=2, max_size=4),
    )
    def race(stage: str, actions: list[Callable[[Race], Awaitable[None]]]) -> None:
        runner.run(_race(table, stage, actions))

    race()
