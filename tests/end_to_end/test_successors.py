"""A newer rollout on a whole stack, under traffic: it replaces the one under way, or waits for its end."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.states import RolloutPhase
from tests.end_to_end.conftest import LiveDeployment, run, until
from tests.end_to_end.test_line import Traffic

pytestmark = [pytest.mark.stack, pytest.mark.shared]

FIRST = {"bake": "0s", "drain_timeout": "30s"}
QUICK = {**FIRST, "auto_promote": True}


async def deploy(deployment: LiveDeployment, tmp_path: Path, label: str, **policy: object) -> Any:
    """Deploy as a person types it, and return what was answered."""
    file = tmp_path / f"{label}.json"
    given: dict[str, Any] = {**QUICK, **policy}
    await asyncio.to_thread(file.write_text, json.dumps(deployment.request(label, **given)))
    words = ("celadon", "deploy", "-f", str(file), "--direct", "-o", "json")
    code, out, errors = await run(deployment.addresses, *words)
    assert code == 0, out + errors
    return json.loads(out)


async def celadon(deployment: LiveDeployment, *words: str) -> str:
    """Give a command as a person types it, and return what was said."""
    code, out, errors = await run(deployment.addresses, "celadon", *words, "--direct")
    assert code == 0, out + errors
    return " ".join(out.split())


async def until_outcomes(deployment: LiveDeployment, *outcomes: str) -> None:
    async def ended() -> bool:
        return await deployment.outcomes() == list(outcomes)

    await until(ended, f"the rollouts of {deployment.name} ended as {outcomes}")


async def test_a_newer_rollout_replaces_the_one_that_awaits_its_promotion(
    deployment: LiveDeployment, tmp_path: Path
) -> None:
    await deployment.serve("r1", **FIRST)
    traffic = Traffic(deployment)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run())
        await traffic.meets("r1")
        await deployment.wait_for_promotion("r2")

        answer = await deploy(deployment, tmp_path, "r3", on_new_revision="replace")
        assert answer["state"] == "waits"

        await until_outcomes(deployment, "promoted", "superseded", "promoted")
        traffic.stop()
    assert set(traffic.answers) == {"r1", "r3"}
    await deployment.until_only_live_is_left()


async def test_a_newer_rollout_ends_the_bake_of_the_one_before(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", **FIRST)
    await deployment.start("r2", auto_promote=True, bake="20m", drain_timeout="30s")
    await deployment.phase(RolloutPhase.BAKING)

    await deploy(deployment, tmp_path, "r3", on_new_revision="replace")

    await until_outcomes(deployment, "promoted", "promoted", "promoted")
    assert await deployment.live_revision() == 3


async def test_of_what_waits_the_newest_begins_once_the_rollout_under_way_has_ended(
    deployment: LiveDeployment, tmp_path: Path
) -> None:
    await deployment.serve("r1", **FIRST)
    await deployment.wait_for_promotion("r2", bake="0s", drain_timeout="30s")
    first = await deploy(deployment, tmp_path, "r3", on_new_revision="queue")
    second = await deploy(deployment, tmp_path, "r4", on_new_revision="queue")
    assert second["replaced"]["id"] == first["waiting"]["id"]
    again = await deploy(deployment, tmp_path, "r4", on_new_revision="queue")
    assert again["state"] == "ALREADY_THERE"
    assert "next: r4 by" in await celadon(deployment, "rollout", "status", deployment.name)

    await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))

    await until_outcomes(deployment, "promoted", "promoted", "promoted")
    assert await deployment.answer() == (200, "r4")


async def test_after_an_abort_what_waits_begins_by_a_retry_alone(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", **FIRST)
    await deployment.wait_for_promotion("r2")
    await deploy(deployment, tmp_path, "r3", on_new_revision="queue")
    await celadon(deployment, "abort", deployment.name, "--by", "ann")
    await until_outcomes(deployment, "promoted", "aborted")
    assert f"'celadon retry {deployment.name}'" in await celadon(deployment, "deployment", "show", deployment.name)

    told = await celadon(deployment, "retry", deployment.name, "--by", "ann")

    assert "has begun, to r3" in told
    await until_outcomes(deployment, "promoted", "aborted", "promoted")
    assert await deployment.answer() == (200, "r3")


async def test_what_was_aborted_is_retried_as_it_was_asked_for(deployment: LiveDeployment) -> None:
    await deployment.serve("r1", **FIRST)
    await deployment.wait_for_promotion("r2")
    await celadon(deployment, "abort", deployment.name, "--by", "ann")
    await until_outcomes(deployment, "promoted", "aborted")

    await celadon(deployment, "retry", deployment.name, "--by", "ann")

    status = await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
    assert status.to_revision == 2
    await celadon(deployment, "abort", deployment.name, "--by", "ann")
    await until_outcomes(deployment, "promoted", "aborted", "aborted")


async def test_what_waits_is_dropped(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", **FIRST)
    await deployment.wait_for_promotion("r2", bake="0s", drain_timeout="30s")
    await deploy(deployment, tmp_path, "r3", on_new_revision="queue")

    assert "waits no more" in await celadon(deployment, "drop", deployment.name, "--by", "ann")

    await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
    await until_outcomes(deployment, "promoted", "promoted")
    assert await deployment.live_revision() == 2


async def test_a_restart_replaces_the_replicas_of_the_live_revision_and_loses_no_request(
    deployment: LiveDeployment,
) -> None:
    await deployment.serve("r1", **FIRST)
    before = set(await deployment.unfinished_routes())
    assert len(before) == 2
    traffic = Traffic(deployment)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run())
        await traffic.meets("r1")

        await celadon(deployment, "restart", deployment.name, "--reason", "new certificates")
        await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
        assert before < set(await deployment.unfinished_routes())
        await deployment.rollouts.promote(deployment.name, PromoteCommand(revision=1, by="ann"))
        await until_outcomes(deployment, "promoted", "promoted")
        traffic.stop()

    # The same revision under its number, by replicas that are all new.
    assert await deployment.live_revision() == 1
    assert set(traffic.answers) == {"r1"}
    await deployment.until_only_live_is_left()
    after = set(await deployment.unfinished_routes())
    assert len(after) == 2
    assert not before & after
