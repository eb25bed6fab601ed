"""Scaling in every phase of a rollout and outside, under requests and streams: not one is lost."""

import asyncio
from pathlib import Path

import pytest

from celadon.domain.language.commands import AbortCommand, PromoteCommand
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase
from celadon.stack.addresses import StackAddresses
from celadon.table.read.overview import view_deployment
from celadon.table.rollouts import scaling as table_scaling
from celadon.table.rollouts.scaling import ScaleOrder
from tests.end_to_end.conftest import FAST_CHECK, LiveDeployment, model_server, run, run_json, until
from tests.end_to_end.held_stream import held_stream
from tests.end_to_end.load import load_on

pytestmark = [pytest.mark.stack, pytest.mark.shared]


async def scale(deployment: LiveDeployment, replicas: int) -> None:
    """Scale as a person would."""
    answer = await run_json(
        deployment.addresses,
        *("celadon", "deployment", "scale", deployment.name, str(replicas), "--reason", "a test", "-o", "json"),
        *(() if replicas else ("--yes",)),
    )
    assert answer["replicas"] == replicas


async def scale_at_once(deployment: LiveDeployment, replicas: int) -> None:
    """Scale without the time that a command takes to start."""
    order = ScaleOrder(deployment=deployment.name, replicas=replicas, by="ann", door=Channel.CLI)
    async with deployment.table.transaction() as tx:
        await table_scaling.scale(tx, order)


async def _leave(deployment: LiveDeployment, count: int) -> bool:
    async with deployment.table.transaction() as tx:
        view = await view_deployment(tx, deployment.name)
    replicas = [] if view is None else [replica for one in view.sets for replica in one.replicas]
    return sum(replica.leaving_deadline is not None for replica in replicas) == count


async def settled(deployment: LiveDeployment, replicas: int) -> None:
    """Wait until the live set has exactly so many replicas, all healthy, and none leaves."""

    async def reached() -> bool:
        async with deployment.table.transaction() as tx:
            view = await view_deployment(tx, deployment.name)
        live = [] if view is None else [one for one in view.sets if one.is_live]
        return [(one.wanted, one.healthy, len(one.replicas)) for one in live] == [(replicas,) * 3]

    await until(reached, f"{deployment.name} has {replicas} healthy replicas and no other")


async def cut(deployment: LiveDeployment) -> int:
    """Return the requests that were cut on any replica the deployment has ever had, live or not."""
    async with deployment.table.transaction() as tx:
        view = await view_deployment(tx, deployment.name)
    return 0 if view is None else sum(one.requests_cut for one in view.sets)


async def test_outside_of_a_rollout(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", replicas=2)
    async with load_on(deployment, tmp_path) as load:
        await load.flows()
        await scale(deployment, 4)
        await settled(deployment, 4)
        await load.flows()
        await scale(deployment, 1)
        await settled(deployment, 1)
        await load.flows()

    assert load.lost() == {}
    assert load.not_found() == []
    assert len(load.streams()) >= 4
    assert await cut(deployment) == 0
    await deployment.until_only_live_is_left()


async def test_up_again_while_replicas_leave(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", replicas=3)
    before = set(await deployment.unfinished_routes())
    async with load_on(deployment, tmp_path) as load:
        await load.flows()
        await scale_at_once(deployment, 1)
        await until(lambda: _leave(deployment, 2), "two replicas leave")
        await scale_at_once(deployment, 3)
        await settled(deployment, 3)
        await load.flows()

    assert load.lost() == {}
    assert set(await deployment.unfinished_routes()) == before


async def test_to_nothing_and_back(deployment: LiveDeployment) -> None:
    await deployment.serve("r1", replicas=2)
    await scale(deployment, 0)
    await settled(deployment, 0)
    assert (await deployment.answer())[0] == 503

    await scale(deployment, 1)
    await settled(deployment, 1)

    async def served() -> bool:
        return await deployment.answer() == (200, "r1")

    await until(served, "the replica takes requests")


async def test_while_green_starts(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", replicas=2)
    slow = {"command": model_server("r2", "--load-seconds", "10"), "health_check": FAST_CHECK}
    async with load_on(deployment, tmp_path) as load:
        await load.flows()
        await deployment.start("r2", revision=slow, auto_promote=True, bake="0s")

        async def green_starts() -> bool:
            return len(await deployment.unfinished_routes()) > 2

        await until(green_starts, "green starts")
        await scale_at_once(deployment, 3)
        await deployment.phase(RolloutPhase.VERIFYING)
        await scale_at_once(deployment, 1)
        ended = await deployment.ended()
        await load.flows()

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    assert load.lost() == {}
    await settled(deployment, 1)
    assert await deployment.answer() == (200, "r2")
    await deployment.until_only_live_is_left()


async def test_while_green_waits_for_its_promotion(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", replicas=2)
    async with load_on(deployment, tmp_path) as load:
        await deployment.wait_for_promotion("r2", replicas=2, bake="0s", max_regressions=0)
        await load.flows()
        await scale(deployment, 3)
        status = await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
        await settled(deployment, 3)
        await until(lambda: _green_has(deployment, 3), "green has grown")
        # The rollout hears of the growth a little later; a promotion before that would be refused.
        await until(lambda: _is_told_of(deployment, 3), "the rollout knows that green has grown")
        await scale(deployment, 1)
        await settled(deployment, 1)
        status = await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
        assert status.holding == ""
        await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
        ended = await deployment.ended()
        await load.flows()

    assert ended.result is not None
    assert (ended.result.outcome, ended.result.requests_cut) == (RolloutOutcome.PROMOTED, 0)
    assert load.lost() == {}
    await settled(deployment, 1)
    await deployment.until_only_live_is_left()


async def _green_has(deployment: LiveDeployment, healthy: int) -> bool:
    async with deployment.table.transaction() as tx:
        view = await view_deployment(tx, deployment.name)
    assert view is not None
    return [one.healthy for one in view.sets if not one.is_live] == [healthy]


async def _is_told_of(deployment: LiveDeployment, ready: int) -> bool:
    """Whether a rollout waits with a green of which so many replicas are ready, by its own knowledge."""
    status = await deployment.rollouts.status(deployment.name)
    awaits = status.phase is RolloutPhase.AWAITING_PROMOTION
    return awaits and status.green is not None and status.green.ready == ready


@pytest.mark.parametrize("replicas", [1, 3])
async def test_at_the_moment_of_the_switch(deployment: LiveDeployment, tmp_path: Path, replicas: int) -> None:
    await deployment.serve("r1", replicas=2)
    async with load_on(deployment, tmp_path) as load:
        await deployment.wait_for_promotion("r2", replicas=2, bake="0s", auto_promote=False)
        await load.flows()
        promotion = deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
        _, answer = await asyncio.gather(scale(deployment, replicas), promotion, return_exceptions=True)
        if isinstance(answer, BaseException):
            await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
            await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
        await deployment.ended()
        await load.flows()

    assert load.lost() == {}
    await settled(deployment, replicas)
    assert await deployment.answer() == (200, "r2")
    await deployment.until_only_live_is_left()


@pytest.mark.parametrize("replicas", [1, 3])
async def test_while_blue_bakes_and_then_back(deployment: LiveDeployment, tmp_path: Path, replicas: int) -> None:
    await deployment.serve("r1", replicas=2)
    async with load_on(deployment, tmp_path) as load:
        await deployment.wait_for_promotion("r2", replicas=2)
        await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
        await load.flows()
        await scale(deployment, replicas)
        await settled(deployment, replicas)
        await until(lambda: _green_has(deployment, replicas), "blue follows")
        await load.flows()
        await deployment.rollouts.rollback(deployment.name, AbortCommand(by="ann"))
        await load.flows()
        await deployment.ended()

    assert load.lost() == {}
    await settled(deployment, replicas)
    assert await deployment.answer() == (200, "r1")
    assert await cut(deployment) == 0
    await deployment.until_only_live_is_left()


async def test_while_blue_drains(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", replicas=2)
    async with load_on(deployment, tmp_path) as load:
        await deployment.wait_for_promotion("r2", replicas=2, bake="0s")
        await load.flows()
        async with held_stream(deployment):
            await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
            await deployment.phase(RolloutPhase.DRAINING)
            await scale(deployment, 3)
        ended = await deployment.ended()
        await load.flows()
        await scale(deployment, 1)
        await settled(deployment, 1)

    assert ended.result is not None
    assert ended.result.requests_cut == 0
    assert load.lost() == {}
    await deployment.until_only_live_is_left()


async def test_while_green_is_closed(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", replicas=2)
    async with load_on(deployment, tmp_path) as load:
        await deployment.wait_for_promotion("r2", replicas=2)
        await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
        await load.flows()
        await deployment.rollouts.rollback(deployment.name, AbortCommand(by="ann"))
        await scale(deployment, 3)
        await settled(deployment, 3)
        ended = await deployment.ended()
        await scale(deployment, 1)
        await settled(deployment, 1)
        await load.flows()

    assert ended.result is not None
    assert (ended.result.outcome, ended.result.requests_cut) == (RolloutOutcome.ROLLED_BACK, 0)
    assert load.lost() == {}
    await deployment.until_only_live_is_left()


async def test_what_is_refused_says_why(stack: StackAddresses, deployment: LiveDeployment) -> None:
    code, _, err = await run(stack, "celadon", "deployment", "scale", deployment.name, "2")

    assert code == 1
    assert f"there is no deployment {deployment.name}" in err
