"""A rollout goes on in a new run in each phase, under load: nobody notices, and no request is lost."""

import asyncio
from pathlib import Path

import pytest
from temporalio.service import RPCError

from celadon.client.rollouts import is_moving, signals_are_exhausted
from celadon.domain.language.commands import AbortCommand, PromoteCommand
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from tests.end_to_end.conftest import LiveDeployment, until
from tests.end_to_end.ledger_server import ledger_revision
from tests.end_to_end.numbered_load import under_numbered_load
from tests.end_to_end.test_after_the_switch import PER_SECOND, until_sent, url_of
from tests.workflows.resets import reset_to_task

pytestmark = [pytest.mark.stack, pytest.mark.shared]

AT_ONCE = 10
ENOUGH = 3_000
"""Signals that surely let a rollout move; a run takes 10,000 at most."""


async def _move(deployment: LiveDeployment) -> None:
    """Send a rollout so many signals that it goes on in a new run: its history grows to two thousand events."""
    first = (await deployment.handle.describe()).run_id
    numbers = iter(range(ENOUGH))

    async def send() -> None:
        number = next(numbers, None)
        if number is None:
            # A busy worker has them all and reads them when it comes to it.
            return
        try:
            await deployment.handle.signal("promote", {"by": f"p{number}", "revision": 99})
        except RPCError as error:
            # Temporal takes none at the very moment of the move.
            if not is_moving(error) and not signals_are_exhausted(error):
                raise

    async def moved() -> bool:
        await asyncio.gather(*(send() for _ in range(AT_ONCE)))
        return (await deployment.handle.describe()).run_id != first

    await until(moved, "the rollout goes on in a new run")


async def test_it_moves_at_the_gate_and_in_the_bake_and_goes_back(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", revision=ledger_revision(tmp_path, "r1"))
    async with under_numbered_load([url_of(deployment)], per_second=PER_SECOND) as load:
        await until_sent(load, 50)
        await deployment.wait_for_promotion("r2", revision=ledger_revision(tmp_path, "r2"))

        await _move(deployment)
        assert (await deployment.rollouts.status(deployment.name)).phase is RolloutPhase.AWAITING_PROMOTION
        promoted = await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann", revision=2))
        await deployment.phase(RolloutPhase.BAKING)

        await _move(deployment)
        status = await deployment.rollouts.status(deployment.name)
        assert (status.phase, status.epoch) == (RolloutPhase.BAKING, promoted.epoch)
        await deployment.rollouts.rollback(deployment.name, AbortCommand(by="ann"))
        ended = await deployment.ended()
        await until_sent(load, 50)

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ROLLED_BACK
    assert await deployment.outcomes() == ["promoted", "rolled_back"]
    assert load.failed == []


async def test_it_moves_while_green_starts_and_while_it_is_verified(deployment: LiveDeployment, tmp_path: Path) -> None:
    await deployment.serve("r1", revision=ledger_revision(tmp_path, "r1"))
    dead, sick = tmp_path / "dead-r2", tmp_path / "sick-r2"
    dead.touch()
    sick.touch()
    async with under_numbered_load([url_of(deployment)], per_second=PER_SECOND) as load:
        await until_sent(load, 50)
        await deployment.start("r2", revision=ledger_revision(tmp_path, "r2"), max_replacements=1000)

        await deployment.phase(RolloutPhase.PROVISIONING)
        await _move(deployment)
        assert (await deployment.rollouts.status(deployment.name)).phase is RolloutPhase.PROVISIONING
        dead.unlink()

        await deployment.phase(RolloutPhase.VERIFYING)
        await _move(deployment)
        assert (await deployment.rollouts.status(deployment.name)).phase is RolloutPhase.VERIFYING
        sick.unlink()

        await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
        await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann", revision=2))
        await until_sent(load, 50)

    assert load.failed == []


async def test_an_older_run_that_is_reset_while_it_bakes_goes_on_from_what_the_table_says(
    deployment: LiveDeployment,
) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")
    await _move(deployment)
    older = (await deployment.handle.describe()).run_id
    await _move(deployment)
    promoted = await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann", revision=2))
    await deployment.phase(RolloutPhase.BAKING)

    await reset_to_task(deployment.temporal, deployment.handle.id, older)

    # Temporal hands the promotion to the new run again; the table answers it as it did.
    again = await deployment.phase(RolloutPhase.BAKING)
    assert again.epoch == promoted.epoch
    assert await deployment.live_revision() == 2
    await deployment.rollouts.rollback(deployment.name, AbortCommand(by="ann"))
    await deployment.ended()
    assert await deployment.outcomes() == ["promoted", "rolled_back"]


async def test_an_older_run_of_a_rollout_that_has_ended_is_reset_in_vain(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")
    await _move(deployment)
    older = (await deployment.handle.describe()).run_id
    await _move(deployment)
    await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann", revision=2))
    await deployment.phase(RolloutPhase.BAKING)
    await deployment.rollouts.rollback(deployment.name, AbortCommand(by="ann"))
    await deployment.ended()

    await reset_to_task(deployment.temporal, deployment.handle.id, older)
    ended = await deployment.ended()

    assert ended.refusal is not None, ended
    assert ended.refusal.code is RefusalCode.NOT_OWNER
    assert await deployment.outcomes() == ["promoted", "rolled_back"]
    assert await deployment.live_revision() == 1
    await deployment.wait_for_promotion("r3")
