"""Deleting a deployment under requests and streams.

A request is lost when it is neither answered in full nor told by 404 that there is no such address.
"""

import json
from pathlib import Path

import pytest

from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.states import DeploymentLifecycle, RolloutPhase
from celadon.stack.addresses import StackAddresses
from celadon.table.core.models import Deployment
from tests.end_to_end.conftest import LiveDeployment, replica_routes, run, run_json, until
from tests.end_to_end.load import load_on

pytestmark = [pytest.mark.stack, pytest.mark.shared]


async def lifecycle(deployment: LiveDeployment) -> DeploymentLifecycle:
    async with deployment.table.transaction() as tx:
        return (await tx.get_one(Deployment, deployment.name)).lifecycle


async def delete(deployment: LiveDeployment, *options: str) -> dict[str, object]:
    """Delete as a person would, and wait until it is destroyed."""
    answer: dict[str, object] = await run_json(
        deployment.addresses,
        *("celadon", "deployment", "delete", deployment.name, "--yes", "--wait", "--timeout", "100s", "-o", "json"),
        *options,
    )
    return answer


async def test_streams_run_to_their_end_and_then_nobody_is_there(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", replicas=2)
    replicas = set(await deployment.unfinished_routes())
    async with load_on(deployment, tmp_path) as load:
        await load.flows()
        answer = await delete(deployment, "--reason", "nobody asks it any more")
        assert (await deployment.answer())[0] == 404

    assert answer["lifecycle"] == "destroyed"
    assert load.lost() == {}
    first_not_found = min(record.sent_ns for record in load.not_found())
    ran_on = [record for record in load.streams() if record.sent_ns < first_not_found < record.end_ns]
    assert len(ran_on) >= 2
    late = [record for record in load.records() if record.sent_ns > first_not_found + 1_000_000_000]
    assert late
    assert {record.status for record in late} == {404}
    assert not replica_routes() & replicas
    assert await deployment.unfinished_routes() == {}


async def test_it_is_refused_while_a_rollout_is_unfinished(stack: StackAddresses, waiting: LiveDeployment) -> None:
    code, _, err = await run(stack, "celadon", "deployment", "delete", waiting.name, "--yes")

    assert code == 1
    assert "--abort" in err
    assert await waiting.answer() == (200, "r1")


async def test_with_abort_a_green_that_waits_is_closed_first(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")
    async with load_on(deployment, tmp_path) as load:
        await load.flows()
        await delete(deployment, "--abort")

    assert load.lost() == {}
    assert await deployment.outcomes() == ["promoted", "aborted"]
    assert await lifecycle(deployment) is DeploymentLifecycle.DESTROYED
    assert await deployment.unfinished_routes() == {}


async def test_with_abort_in_the_bake_blue_gets_the_traffic_back_and_then_goes(
    deployment: LiveDeployment,
    tmp_path: Path,
) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")
    await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
    async with load_on(deployment, tmp_path) as load:
        await load.flows()
        await delete(deployment, "--abort")

    assert load.lost() == {}
    assert await deployment.outcomes() == ["promoted", "rolled_back"]
    assert await deployment.unfinished_routes() == {}


async def test_a_first_deployment_that_never_was_live_can_be_deleted(deployment: LiveDeployment) -> None:
    await deployment.start("r1", auto_promote=False)
    await deployment.phase(RolloutPhase.AWAITING_PROMOTION)

    await delete(deployment, "--abort")

    assert await deployment.outcomes() == ["aborted"]
    assert await lifecycle(deployment) is DeploymentLifecycle.DESTROYED


async def test_a_rollout_that_was_terminated_is_ended_by_the_keeper_before(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")
    await deployment.handle.terminate("a person pressed the wrong button")

    await delete(deployment, "--abort")

    assert await deployment.outcomes() == ["promoted", "failed"]
    assert await deployment.unfinished_routes() == {}


async def test_what_was_deleted_is_told_and_can_be_started_anew(
    stack: StackAddresses,
    deployment: LiveDeployment,
) -> None:
    await deployment.serve("r1", replicas=1)
    await delete(deployment, "--reason", "by mistake")
    shown = await run_json(stack, "celadon", "deployment", "show", deployment.name, "-o", "json")
    history = json.dumps(await run_json(stack, "celadon", "rollout", "history", deployment.name, "-o", "json"))
    listed = await run_json(stack, "celadon", "deployment", "list", "-o", "json")
    assert shown["lifecycle"] == "destroyed"
    assert "by mistake" in history
    assert deployment.name not in {one["deployment"] for one in listed["deployments"]}

    await deployment.serve("r2", replicas=1)

    async def served() -> bool:
        return await deployment.answer() == (200, "r2")

    await until(served, "the new revision answers at the old address")
    assert await deployment.live_revision() == 2
    await deployment.until_only_live_is_left()
