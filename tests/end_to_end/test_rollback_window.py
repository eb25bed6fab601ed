"""Going back when no rollout is under way, under traffic: A-B-A-B, and A-B-A-C-B."""

import asyncio

import pytest

from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from tests.end_to_end.conftest import LiveDeployment, run
from tests.end_to_end.test_line import Traffic

pytestmark = [pytest.mark.stack, pytest.mark.shared]

QUICK = {"bake": "0s", "drain_timeout": "30s"}


async def promoted(deployment: LiveDeployment, label: str, revision: int) -> None:
    """Roll a revision out, with a person's promotion."""
    await deployment.start(label, **QUICK)
    await _promote(deployment, revision)


async def back(deployment: LiveDeployment, *more: str) -> str:
    """Roll back as a person types it, and return what was said."""
    code, out, errors = await run(
        deployment.addresses, "celadon", "rollback", deployment.name, "--direct", "--by", "ann", *more
    )
    assert code == 0, out + errors
    return " ".join(out.split())


async def _promote(deployment: LiveDeployment, revision: int) -> None:
    await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
    await deployment.rollouts.promote(deployment.name, PromoteCommand(revision=revision, by="ann"))
    ended = await deployment.ended()
    assert ended.result is not None
    assert (ended.result.outcome, ended.result.requests_cut) == (RolloutOutcome.PROMOTED, 0)


async def test_a_b_a_b_and_a_b_a_c_b_under_load(deployment: LiveDeployment) -> None:
    await deployment.serve("r1", **QUICK)
    traffic = Traffic(deployment)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run())
        await promoted(deployment, "r2", 2)

        told = await back(deployment, "--wait", "--reason", "p99 doubled")
        assert "inside the rollback window: r1 is 1 revision back" in told
        assert await deployment.live_revision() == 1
        await deployment.ended()

        await promoted(deployment, "r2", 2)
        assert await deployment.live_revision() == 2

        await back(deployment, "--wait")
        # The table says that a rollout has ended a moment before its workflow has, and the next one may start.
        await deployment.ended()
        await promoted(deployment, "r3", 3)
        # B again: traffic was taken back from it, so the gate applies.
        told = await back(deployment, "--to-revision", "2")
        assert "outside the rollback window" in told
        await _promote(deployment, 2)
        traffic.stop()

    assert await deployment.live_revision() == 2
    assert set(traffic.answers) == {"r1", "r2", "r3"}
    assert await deployment.answer() == (200, "r2")
    await deployment.until_only_live_is_left()
