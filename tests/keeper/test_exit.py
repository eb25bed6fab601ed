"""How a keeper ends."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from celadon.domain.language.states import RouteStatus
from celadon.keeper.lease import USUAL_LEASE_TIMES
from celadon.table.core.engine import Table
from celadon.table.core.models import KeeperLease
from celadon.table.replicas.leases import take_lease
from tests.keeper.leases import LASTING_TIMES
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, running_keeper
from tests.provisioners.programs import processes_of, server, until

pytestmark = pytest.mark.parts


async def test_a_keeper_that_ends_gives_its_lease_back_and_leaves_its_replicas(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    async with running_keeper(table, state_dir, Rollouts(), holder="first"):
        await chat.open({"command": server()}, replicas=1)
        [route] = await chat.healthy(1)
    assert len(processes_of(route.id)) == 1
    # Nobody waits here for a lease to expire, which takes an hour.
    async with running_keeper(table, state_dir, Rollouts(), holder="second") as running:
        await until(lambda: running.metric("celadon_keeper_lease_held") == 1)
        async with table.transaction() as tx:
            lease = await tx.get_one(KeeperLease, 0)
        assert (lease.holder, lease.fence) == ("second", 2)


async def test_replicas_that_end_with_their_keeper_did_not_fail_and_start_again(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    async with running_keeper(table, state_dir, Rollouts()) as running:
        await chat.open({"command": server("stubborn"), "termination_grace": "500ms"}, replicas=2)
        before = await chat.healthy(2)
        running.keeper.stop(stop_replicas=True)
        await running.task
    assert not any(processes_of(route.id) for route in before)
    ended = await chat.routes(ended=None)
    assert {route.status for route in ended} == {RouteStatus.TERMINATED}
    assert (await chat.set_row()).replacements == 0
    async with running_keeper(table, state_dir, Rollouts()) as running:
        after = await chat.healthy(2)
        running.keeper.stop(stop_replicas=True)
        assert not {route.id for route in after} & {route.id for route in before}


async def test_replicas_end_with_a_keeper_that_looks_for_the_lease_only_after_it_has_expired(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    async with running_keeper(table, state_dir, Rollouts()):
        await chat.open({"command": server()}, replicas=1)
        [route] = await chat.healthy(1)
    # A machine that stood still for all of the time in which the lease of one that was killed is waited for.
    times = replace(LASTING_TIMES, outwait=timedelta(0))
    async with running_keeper(table, state_dir, Rollouts(), lease_times=times) as running:
        running.keeper.stop(stop_replicas=True)
        await running.task
    assert not processes_of(route.id)


async def test_replicas_end_although_a_keeper_that_was_killed_still_has_the_lease_on_paper(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    async with running_keeper(table, state_dir, Rollouts()):
        await chat.open({"command": server()}, replicas=1)
        [route] = await chat.healthy(1)
    async with table.transaction() as tx:
        assert await take_lease(tx, "killed") is not None
    async with running_keeper(table, state_dir, Rollouts(), lease_times=USUAL_LEASE_TIMES) as running:
        running.keeper.stop(stop_replicas=True)
        await running.task
    assert not processes_of(route.id)
