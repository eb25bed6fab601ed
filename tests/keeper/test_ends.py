"""A replica whose process has ended gets no more requests, whatever its last probe said."""

import asyncio
import os
import signal
from pathlib import Path

from celadon.domain.language.states import RouteHealthStatus, RouteStatus
from celadon.provisioners.claims import ProcessClaim
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.protocol import Replica
from celadon.provisioners.settings import LocalSettings
from celadon.table.core.engine import Table
from celadon.table.core.models import Route
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, running_keeper
from tests.provisioners.programs import server, until

SELDOM = {"path": "/health", "interval": "1h", "timeout": "30s"}
"""No probe comes between the first one and the end of a test."""


class SlowToClear(LocalProvisioner):
    """Takes its time over what ended replicas leave behind, as a child that does not obey SIGTERM does."""

    def __init__(self, state_dir: Path) -> None:
        """Begin without a delay."""
        super().__init__(LocalSettings(state_dir=state_dir))
        self.may_clear = asyncio.Event()

    async def stop(self, replica: Replica) -> None:
        """Wait until the test lets it."""
        await self.may_clear.wait()
        await super().stop(replica)


def kill(state_dir: Path, route: Route) -> None:
    """Let a replica crash."""
    pid = ProcessClaim.parse((state_dir / f"{route.id}.claim").read_text()).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def live(chat: Deploying) -> list[Route]:
    """Make two replicas live that are not probed again; return them."""
    await chat.open({"command": server(), "health_check": SELDOM}, replicas=2)
    replicas = await chat.healthy(2)
    await chat.switch()
    return replicas


async def test_a_live_replica_that_dies_between_probes_is_replaced(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    async with running_keeper(table, state_dir, Rollouts()):
        first, second = await live(chat)
        kill(state_dir, first)
        [ended] = await chat.ended(1)
        assert (ended.id, ended.last_error) == (first.id, "was ended by SIGKILL")
        assert second.id in {route.id for route in await chat.healthy(2)}


async def test_an_adopted_live_replica_that_dies_between_probes_is_replaced(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    async with running_keeper(table, state_dir, Rollouts(), holder="first"):
        first, second = await live(chat)
    async with running_keeper(table, state_dir, Rollouts(), holder="second"):

        async def is_confirmed() -> bool:
            return len({route.health_fence for route in await chat.routes()}) == 1

        await until(is_confirmed)
        kill(state_dir, first)
        [ended] = await chat.ended(1)
        assert ended.id == first.id
        assert second.id in {route.id for route in await chat.healthy(2)}


async def test_a_live_replica_that_died_is_taken_out_before_its_leftovers_have_ended(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    local = SlowToClear(state_dir)
    async with running_keeper(table, state_dir, Rollouts(), local=local):
        first, _ = await live(chat)
        kill(state_dir, first)

        async def is_taken_out() -> bool:
            row = next(route for route in await chat.routes() if route.id == first.id)
            return row.health is RouteHealthStatus.UNHEALTHY and row.last_error == "was ended by SIGKILL"

        await until(is_taken_out)
        assert len(await chat.routes()) == 2, "what is left may hold the memory that another one needs"
        local.may_clear.set()
        [ended] = await chat.ended(1)
        assert (ended.id, ended.status) == (first.id, RouteStatus.TERMINATED)
        await chat.healthy(2)
