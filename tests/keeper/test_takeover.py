"""A keeper dies or is paused at any moment; the next one goes on, and no process is left over."""

import asyncio
import os
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from celadon.domain.language.contracts import KEEPER_LEASE
from celadon.domain.language.names import Fence, RouteId
from celadon.domain.language.states import RouteHealthStatus, RouteStatus
from celadon.provisioners.claims import ROUTE_VARIABLE, ProcessClaim
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.protocol import Replica
from celadon.provisioners.settings import LocalSettings
from celadon.table.core.engine import Table
from celadon.table.core.models import KeeperLease, Route
from celadon.table.replicas.keeper_reads import ManagedSet, read_managed_sets
from celadon.table.replicas.leases import release_lease, take_lease
from celadon.table.replicas.routes import add_route, route_ended, route_running
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, running_keeper
from tests.provisioners.programs import processes_of, server, until

pytestmark = pytest.mark.parts


def claim_of(state_dir: Path, route: str) -> ProcessClaim:
    return ProcessClaim.parse((state_dir / f"{route}.claim").read_text())


def replicas_of_user() -> dict[str, set[int]]:
    """Return the processes of all replicas on this machine."""
    found: dict[str, set[int]] = {}
    for process in psutil.process_iter():
        try:
            route = process.environ().get(ROUTE_VARIABLE)
            if route is not None and process.status() != psutil.STATUS_ZOMBIE:
                found.setdefault(route, set()).add(process.pid)
        except psutil.Error:
            continue
    return found


@asynccontextmanager
async def keeper_process(table: Table, state_dir: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a keeper in a process of its own; it is killed when the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.keeper.keeper_process",
        table.database_url,
        str(state_dir),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def free_lease(table: Table) -> None:
    """Let the next keeper have the lease of one that was killed at once."""
    async with table.transaction() as tx:
        # In one statement: a transaction that it had under way may be committed only now.
        await tx.execute(text("update keepers set seen_at = to_timestamp(0)"))


async def newest_fence(table: Table) -> int:
    """Return the fence of the newest keeper, 0 before the first."""
    async with table.transaction() as tx:
        lease = await tx.get(KeeperLease, 0)
    return 0 if lease is None else lease.fence


async def is_kept_anew(table: Table, fence: int) -> bool:
    """Whether a keeper has begun after the one of a fence; it may have lost its first lease to a busy machine."""
    return await newest_fence(table) > fence


class HalfKeeper:
    """Does some steps of a keeper, and then no more, as one that was killed there."""

    def __init__(self, table: Table, state_dir: Path, chat: Deploying) -> None:
        self.table, self.chat = table, chat
        self.local = LocalProvisioner(LocalSettings(state_dir=state_dir))
        self.fence = Fence(0)

    async def write_row(self) -> Replica:
        """Write a replica down."""
        async with self.table.transaction() as tx:
            fence = await take_lease(tx, "half")
        assert fence is not None
        self.fence = fence
        kept = await self.kept()
        place = self.local.choose_place(kept.revision, frozenset(), frozenset())
        assert place is not None
        route = RouteId(str(uuid.uuid4()))
        async with self.table.transaction() as tx:
            assert await add_route(tx, fence, kept.route_set, route, host=place.host, port=place.ports["http"])
        return Replica(route, place, kept.revision)

    async def kept(self) -> ManagedSet:
        async with self.table.transaction() as tx:
            [kept] = await read_managed_sets(tx, [self.chat.name])
        return kept

    async def die(self, replica: Replica) -> None:
        """Let the next keeper have the lease; forget the child, which is the init process's from now on."""
        self.local._launches._pids.pop(replica.route, None)  # noqa: SLF001
        async with self.table.transaction() as tx:
            await release_lease(tx, self.fence)


@pytest.fixture
def half(table: Table, state_dir: Path, chat: Deploying) -> HalfKeeper:
    return HalfKeeper(table, state_dir, chat)


async def test_a_row_without_a_process_gets_its_process(
    half: HalfKeeper,
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    await chat.open({"command": server()}, replicas=1)
    replica = await half.write_row()
    await half.die(replica)
    async with running_keeper(table, state_dir, Rollouts()):
        [route] = await chat.healthy(1)
        assert route.id == replica.route
        assert len(processes_of(route.id)) == 1


async def test_a_process_that_was_not_recorded_is_adopted(
    half: HalfKeeper,
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    await chat.open({"command": server()}, replicas=1)
    replica = await half.write_row()
    await half.local.start(replica)
    claim = claim_of(state_dir, replica.route)
    await half.die(replica)
    async with running_keeper(table, state_dir, Rollouts()):
        [route] = await chat.healthy(1)
        assert route.id == replica.route
        assert claim_of(state_dir, route.id) == claim
        assert processes_of(route.id) == {claim.pid}


async def test_an_adopted_replica_that_ends_is_replaced(
    half: HalfKeeper,
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    await chat.open({"command": server()}, replicas=1)
    replica = await half.write_row()
    await half.local.start(replica)
    claim = claim_of(state_dir, replica.route)
    await half.die(replica)
    async with running_keeper(table, state_dir, Rollouts()):
        await chat.healthy(1)
        assert claim.pid is not None
        os.kill(claim.pid, signal.SIGKILL)
        await chat.ended(1)
        [route] = await chat.healthy(1)
        assert route.id != replica.route


async def test_a_replica_that_died_with_its_keeper_is_replaced(
    half: HalfKeeper,
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    await chat.open({"command": server()}, replicas=1)
    replica = await half.write_row()
    await half.local.start(replica)
    async with table.transaction() as tx:
        await route_running(tx, half.fence, await half.kept(), replica.route)
    claim = claim_of(state_dir, replica.route)
    assert claim.pid is not None
    os.kill(claim.pid, signal.SIGKILL)
    await half.die(replica)
    async with running_keeper(table, state_dir, Rollouts()):
        [dead] = await chat.ended(1)
        assert dead.id == replica.route
        await chat.healthy(1)


async def test_a_stop_that_was_begun_is_ended(
    half: HalfKeeper,
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    await chat.open({"command": server()}, replicas=1)
    replica = await half.write_row()
    await half.local.start(replica)
    async with table.transaction() as tx:
        row = await tx.get_one(Route, replica.route)
        row.status = RouteStatus.TERMINATING
    await half.die(replica)
    await chat.scale(0)
    async with running_keeper(table, state_dir, Rollouts()):
        [ended] = await chat.ended(1)
        assert ended.status is RouteStatus.TERMINATED
        assert not processes_of(replica.route)


async def test_a_process_whose_end_was_recorded_too_early_is_swept(
    half: HalfKeeper,
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    await chat.open({"command": server()}, replicas=1)
    replica = await half.write_row()
    await half.local.start(replica)
    async with table.transaction() as tx:
        kept = await half.kept()
        await route_ended(tx, half.fence, kept, replica.route, status=RouteStatus.TERMINATED, failed=False)
    await half.die(replica)
    async with running_keeper(table, state_dir, Rollouts()):
        await until(lambda: not processes_of(replica.route))
        await chat.healthy(1)


async def test_replicas_outlive_a_killed_keeper_and_are_adopted_healthy(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    async with keeper_process(table, state_dir) as process:
        await chat.open({"command": server()}, replicas=2)
        before = {route.id: claim_of(state_dir, route.id) for route in await chat.healthy(2)}
        process.kill()
        await process.wait()
    epoch = await chat.epoch()
    await free_lease(table)
    async with running_keeper(table, state_dir, Rollouts(), holder="next") as running:
        await until(lambda: running.metric("celadon_keeper_probes_total", result="passed") >= 4)
        routes = await chat.healthy(2)
        assert {route.id: claim_of(state_dir, route.id) for route in routes} == before
        assert await chat.epoch() == epoch


async def test_killed_at_random_moments_nothing_is_left_over(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    """Kill keepers while they start, replace and stop replicas; in the end there are the wanted ones and no other."""
    randomness = random.Random(7)
    await chat.open({"command": server()}, replicas=3, max_replacements=1000)
    seen: set[str] = set()
    for _ in range(6):
        await free_lease(table)
        before = await newest_fence(table)
        async with keeper_process(table, state_dir) as process:
            await until(partial(is_kept_anew, table, before))
            await asyncio.sleep(randomness.uniform(0, 0.25))
            process.kill()
            await process.wait()
        seen |= {route.id for route in await chat.routes(ended=None)}
        await chat.scale(randomness.choice([1, 2, 4]))
    await chat.scale(2)
    await free_lease(table)
    async with running_keeper(table, state_dir, Rollouts()):
        wanted = {route.id for route in await chat.healthy(2)}
        seen |= {route.id for route in await chat.routes(ended=None)}

        def is_all() -> bool:
            left = {route: pids for route, pids in replicas_of_user().items() if route in seen}
            return left.keys() == wanted and all(len(pids) == 1 for pids in left.values())

        # A launcher that a killed keeper has started may only now find the claim of another one, and leave.
        await until(is_all)


async def test_a_paused_keeper_does_not_act_when_it_wakes_up(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    async with keeper_process(table, state_dir) as zombie:
        await chat.open({"command": server()}, replicas=1)
        [first] = await chat.healthy(1)
        zombie.send_signal(signal.SIGSTOP)
        await asyncio.sleep(KEEPER_LEASE.total_seconds())
        await free_lease(table)
        async with running_keeper(table, state_dir, Rollouts(), holder="next") as running:
            await until(lambda: running.metric("celadon_keeper_lease_held") == 1)
            pid = claim_of(state_dir, first.id).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await chat.ended(1)
            [second] = await chat.healthy(1)
            zombie.send_signal(signal.SIGCONT)
            await asyncio.sleep(1)
            assert [route.id for route in await chat.routes(ended=None)] == [first.id, second.id]
            assert [route.health for route in await chat.routes()] == [RouteHealthStatus.HEALTHY]
            assert len(processes_of(second.id)) == 1
            assert running.metric("celadon_keeper_lease_held") == 1
            async with table.transaction() as tx:
                assert (await tx.get_one(KeeperLease, 0)).holder == "next"


async def test_broken_connections_are_made_anew(table: Table, state_dir: Path, chat: Deploying) -> None:
    # Who looks on has connections of its own: a connection that breaks is not asked about the moment after.
    async with (
        Table(table.database_url, "celadon-onlooker") as onlooker,
        running_keeper(table, state_dir, Rollouts()) as running,
    ):
        chat.table = onlooker
        await chat.open({"command": server()}, replicas=1)
        [first] = await chat.healthy(1)
        async with onlooker.transaction() as tx:
            await tx.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and application_name <> 'celadon-onlooker'",
                ),
            )
        pid = claim_of(state_dir, first.id).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await chat.ended(1)
        await chat.healthy(1)
        assert running.metric("celadon_keeper_lease_held") == 1


async def test_a_keeper_that_took_over_confirms_health_without_a_new_epoch(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    async with running_keeper(table, state_dir, Rollouts(), holder="first"):
        await chat.open({"command": server()}, replicas=1)
        await chat.healthy(1)
    epoch = await chat.epoch()

    async def confirmed() -> bool:
        [row] = await chat.routes()
        async with table.transaction() as tx:
            return row.health_fence == (await tx.get_one(KeeperLease, 0)).fence

    async with running_keeper(table, state_dir, Rollouts(), holder="second"):
        await until(confirmed)

    assert await chat.epoch() == epoch
