"""All of green dies during the bake: blue takes over at once, and the rollout goes back by itself."""

import os
import signal
import time
from pathlib import Path

import pytest

from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.table.records.deployments import SetView
from tests.end_to_end.conftest import LiveDeployment, replica_processes, run_json, until
from tests.end_to_end.ledger_server import ledger_revision, unended
from tests.end_to_end.numbered_load import NumberedLoad, under_numbered_load
from tests.end_to_end.test_after_the_switch import (
    is_full,
    lost_elsewhere,
    set_of,
    until_refused,
    until_sent,
    url_of,
)

pytestmark = [pytest.mark.stack, pytest.mark.shared]

PER_SECOND = 50.0
LOADS_SECONDS = 8.0
"""So long green stays lost at least, and whoever looks sees it."""


async def bake(deployment: LiveDeployment, directory: Path, **policy: object) -> SetView:
    """Switch from r1 to r2, whose replicas take seconds to load; return green."""
    await deployment.serve("r1", revision=ledger_revision(directory, "r1"))
    green = ledger_revision(directory, "r2", loads_seconds=LOADS_SECONDS)
    await deployment.wait_for_promotion("r2", revision=green, **policy)
    await deployment.rollouts.promote(deployment.name, PromoteCommand())
    await deployment.phase(RolloutPhase.BAKING)
    return await set_of(deployment, 2)


async def kill_all(load: NumberedLoad, green: SetView, directory: Path) -> tuple[set[int], float]:
    """Kill all replicas; return the requests that they had begun, and when the last port was closed."""
    await until_sent(load, 50)
    processes = [pid for one in green.replicas for pid in replica_processes(one.route)]
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    closed_at = max([await until_refused(one.port) for one in green.replicas])
    return {number for pid in processes for number in unended(directory, pid)}, closed_at


async def test_blue_takes_what_a_dead_green_cannot_and_the_rollout_goes_back_by_itself(
    deployment: LiveDeployment, tmp_path: Path
) -> None:
    green = await bake(deployment, tmp_path, failover_rollback="1s")
    async with under_numbered_load([url_of(deployment)], per_second=PER_SECOND) as load:
        begun, closed_at = await kill_all(load, green, tmp_path)
        ended = await deployment.ended()
        ended_at = time.monotonic()
        await until_sent(load, 50)

    assert ended.result is not None
    assert (ended.result.outcome, ended.result.reason) == (
        RolloutOutcome.ROLLED_BACK,
        "green has had no healthy replica for 1s",
    )
    assert lost_elsewhere(load, begun, closed_at) == []
    assert {one.answer for one in load.sent if one.at > ended_at} == {"r1"}
    events = await run_json(deployment.addresses, "celadon", "rollout", "history", deployment.name, "-o", "json")
    told = {one["kind"]: one for one in events["events"]}
    assert told["switched_back"]["actor"] == "policy"
    assert told["failover"]["actor"] == "gateway"


async def test_a_green_that_is_back_in_time_takes_all_again(deployment: LiveDeployment, tmp_path: Path) -> None:
    green = await bake(deployment, tmp_path, failover_rollback="10m")
    async with under_numbered_load([url_of(deployment)], per_second=PER_SECOND) as load:
        begun, closed_at = await kill_all(load, green, tmp_path)

        async def says_so() -> bool:
            status = await deployment.rollouts.status(deployment.name)
            return status.holding.startswith("no replica of green is healthy since")

        await until(says_so, "the rollout says that green is lost")
        dead = frozenset(one.route for one in green.replicas)
        await until(lambda: is_full(deployment, 2, dead), "green is full again")

        async def green_takes_all() -> bool:
            return {one.answer for one in load.sent[-20:]} == {"r2"}

        await until(green_takes_all, "green takes all again")

    assert lost_elsewhere(load, begun, closed_at) == []
    assert "r1" in load.answers
