"""A freeze on a whole stack, under traffic: nothing is switched while it holds, and what is due goes on at its end."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from tests.end_to_end.conftest import LiveDeployment, run, until
from tests.end_to_end.test_line import Traffic

pytestmark = [pytest.mark.stack, pytest.mark.shared]


async def celadon(deployment: LiveDeployment, *words: str) -> str:
    """Give a command as a person types it, and return what was said."""
    code, out, errors = await run(deployment.addresses, "celadon", *words, "--direct", "--by", "ann")
    assert code == 0, out + errors
    return " ".join(out.split())


async def until_it_holds(deployment: LiveDeployment, sentence: str) -> None:
    async def holds() -> bool:
        return sentence in (await deployment.rollouts.status(deployment.name)).holding

    await until(holds, sentence)


async def test_a_timer_that_is_due_waits_until_somebody_ends_the_freeze(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    traffic = Traffic(deployment)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run())
        await traffic.meets("r1")
        told = await celadon(deployment, "freeze", deployment.name, "--reason", "black friday")
        assert f"End it with: celadon unfreeze {deployment.name}" in told
        await deployment.start("r2", auto_promote=True, bake="1s")
        await until_it_holds(deployment, "by ann (black friday): nothing is switched until somebody ends it")
        with pytest.raises(RefusedError) as refused:
            await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ben", force=True, reason="now"))
        assert refused.value.refusal.code is RefusalCode.FROZEN
        assert await deployment.live_revision() == 1

        await celadon(deployment, "unfreeze", deployment.name)

        ended = await deployment.ended()
        traffic.stop()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    assert set(traffic.answers) == {"r1", "r2"}


async def test_a_planned_freeze_begins_and_ends_by_the_clock(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    now = datetime.now(UTC)
    begins, ends = ((now + timedelta(seconds=span)).isoformat() for span in (1, 25))
    await celadon(deployment, "freeze", deployment.name, "--from", begins, "--until", ends)

    await deployment.start("r2", auto_promote=True, promote_after="2s", bake="1s")

    ended = await deployment.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    assert ended.result.switched_at is not None
    assert ended.result.switched_at >= datetime.fromisoformat(ends)


async def test_a_frozen_rollout_is_aborted_like_any_other(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    await celadon(deployment, "freeze", deployment.name)
    await deployment.start("r2", auto_promote=True)
    await until_it_holds(deployment, "nothing is switched until somebody ends it")

    await celadon(deployment, "abort", deployment.name)

    ended = await deployment.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED
    assert (await deployment.rollouts.status(deployment.name)).phase is RolloutPhase.COMPLETED
