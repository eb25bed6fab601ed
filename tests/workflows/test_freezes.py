"""A rollout that knows of a freeze waits for its end, says so, and goes on with what remained."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from celadon.domain.language import contracts
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.freeze import Freeze, FreezesRead
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import SwitchAnswer
from tests.workflows.conftest import ROLLOUT

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

HOUR = timedelta(hours=1)
AWAITING = RolloutPhase.AWAITING_PROMOTION
REFUSED = SwitchAnswer(refusal=Refusal(code=RefusalCode.FROZEN, message="frozen", next_step="wait"))
SWITCHED = SwitchAnswer(epoch=Epoch(5))


def freezes(at: datetime, *spans: tuple[timedelta, timedelta | None]) -> FreezesRead:
    """Return what the table has read at a moment: freezes by their begins and ends, counted from it."""
    return FreezesRead(
        at=at,
        freezes=tuple(
            Freeze(
                id=number,
                everywhere=False,
                begins_at=at + begins,
                ends_at=None if ends is None else at + ends,
                by="ann",
                reason="black friday",
            )
            for number, (begins, ends) in enumerate(spans, start=1)
        ),
    )


async def told(rollout: "RunningRollout", read: FreezesRead, *, times: int = 1) -> None:
    """Let the rollout hear that its freezes have changed, and read them."""
    rollout.script.freezes = read
    await rollout.handle.signal(contracts.GATE_CHANGED, {"rollout": ROLLOUT, "what": "a freeze was ordered"})
    await rollout.until(lambda: rollout.script.names().count("read_freezes") == times)
    await rollout.until_nothing_is_in_flight()


async def test_a_due_timer_waits_for_the_end_of_the_freeze(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    since = (await rollout.status()).since
    await told(rollout, freezes(since, (timedelta(0), 3 * HOUR)))
    status = await rollout.status()
    assert "frozen since" in status.holding
    assert "by ann (black friday): nothing is switched until" in status.holding
    assert status.next_step.startswith("wait for the end of the freeze")

    await rollout.skip(2 * HOUR)
    assert (await rollout.status()).phase is AWAITING
    await rollout.skip(HOUR + timedelta(minutes=1))

    await rollout.phase(RolloutPhase.BAKING)
    assert rollout.script.names().count("switch") == 1
    await rollout.record("promoted-at-the-end-of-a-freeze")


async def test_a_freeze_that_somebody_ends_lets_the_due_timer_fire(rollout: "RunningRollout") -> None:
    await rollout.start(auto_promote=True)
    rollout.script.freezes = freezes((await rollout.status()).since, (timedelta(0), None))
    await rollout.edge(SetCondition.READY)
    await rollout.phase(AWAITING)
    await rollout.until_nothing_is_in_flight()
    assert "until somebody ends it: celadon unfreeze" in (await rollout.status()).holding
    assert "switch" not in rollout.script.names()

    await told(rollout, freezes((await rollout.status()).since))

    await rollout.phase(RolloutPhase.BAKING)


async def test_a_planned_freeze_begins_without_a_message(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="2h")
    await told(rollout, freezes((await rollout.status()).since, (HOUR, 5 * HOUR)))
    assert (await rollout.status()).holding == ""

    await rollout.skip(HOUR + timedelta(minutes=1))

    assert "frozen since" in (await rollout.status()).holding
    await rollout.skip(4 * HOUR)
    await rollout.phase(RolloutPhase.BAKING)


async def test_a_deadline_does_not_run_out_while_a_freeze_holds(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(promotion_deadline="2h")
    await told(rollout, freezes((await rollout.status()).since, (timedelta(0), 24 * HOUR)))

    await rollout.skip(25 * HOUR)
    assert (await rollout.status()).phase is AWAITING
    await rollout.skip(HOUR + timedelta(minutes=1))

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.EXPIRED


async def test_a_switch_that_is_refused_for_a_freeze_nobody_told_of_waits_for_its_end(
    rollout: "RunningRollout",
) -> None:
    rollout.script.switch = [REFUSED, SWITCHED]
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    rollout.script.freezes = freezes((await rollout.status()).since, (timedelta(0), 4 * HOUR))

    await rollout.skip(2 * HOUR)
    assert (await rollout.status()).phase is AWAITING
    assert "frozen since" in (await rollout.status()).holding
    await rollout.skip(2 * HOUR + timedelta(minutes=1))

    await rollout.phase(RolloutPhase.BAKING)
    assert rollout.script.names().count("switch") == 2


async def test_a_persons_promotion_is_refused_by_the_freeze_and_green_keeps_its_turn(
    rollout: "RunningRollout",
) -> None:
    rollout.script.switch = [REFUSED, SWITCHED]
    await rollout.wait_for_promotion()
    await told(rollout, freezes((await rollout.status()).since, (timedelta(0), None)))

    with pytest.raises(RefusedError) as refused:
        await rollout.promote(by="ann")
    assert refused.value.refusal.code is RefusalCode.FROZEN
    assert (await rollout.status()).phase is AWAITING

    await told(rollout, freezes((await rollout.status()).since), times=2)
    await rollout.promote(by="ann")
    await rollout.phase(RolloutPhase.BAKING)


async def test_an_abort_goes_on_while_a_freeze_holds(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()
    await told(rollout, freezes((await rollout.status()).since, (timedelta(0), None)))

    await rollout.abort(by="ann")

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED


async def test_what_is_known_of_freezes_survives_a_new_run(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    before = (await rollout.handle.describe()).run_id
    await told(rollout, freezes((await rollout.status()).since, (timedelta(0), timedelta(days=20))))

    await rollout.skip(timedelta(days=15))
    assert (await rollout.handle.describe()).run_id != before
    assert "frozen since" in (await rollout.status()).holding
    await rollout.skip(timedelta(days=5, minutes=1))

    await rollout.phase(RolloutPhase.BAKING)
    assert rollout.script.names().count("read_freezes") == 1


async def test_a_worker_that_dies_while_it_reads_freezes_reads_them_again(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    rollout.script.failures["read_freezes"] = 2

    await told(rollout, freezes((await rollout.status()).since, (timedelta(0), None)), times=3)

    assert "frozen since" in (await rollout.status()).holding


async def test_a_rollout_that_meets_no_freeze_asks_for_none(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="1s")
    await rollout.skip(timedelta(minutes=1))
    await rollout.ended()

    assert "read_freezes" not in rollout.script.names()
