"""A switch that is refused through no fault of green's is a hold, which names what ends it."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from celadon.domain.language import contracts
from celadon.domain.language.commands import PromoteState
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import SwitchAnswer
from tests.workflows.conftest import ROLLOUT

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

SWITCHED = SwitchAnswer(epoch=Epoch(5))
AWAITING = RolloutPhase.AWAITING_PROMOTION
ENDINGS = [
    (RefusalCode.FROZEN, contracts.GATE_CHANGED, {"rollout": ROLLOUT, "what": "the freeze has ended"}),
    (RefusalCode.KEEPER_SILENT, contracts.KEEPER_BACK, {"rollout": ROLLOUT, "ready": 3, "required": 3}),
]


def refused(code: RefusalCode) -> SwitchAnswer:
    """Return the answer of a switch that is refused."""
    return SwitchAnswer(refusal=Refusal(code=code, message=f"no: {code.value}", next_step="wait"))


async def _is_held(rollout: "RunningRollout") -> None:
    await rollout.until(lambda: rollout.script.names().count("switch") == 1)
    await rollout.phase(AWAITING)
    await rollout.until_nothing_is_in_flight()


@pytest.mark.parametrize(("code", "signal", "payload"), ENDINGS)
async def test_a_timer_that_was_refused_asks_again_when_the_hold_has_ended(
    rollout: "RunningRollout",
    code: RefusalCode,
    signal: str,
    payload: dict[str, object],
) -> None:
    rollout.script.switch = [refused(code), SWITCHED]
    await rollout.wait_for_promotion(auto_promote=True, max_regressions=0)
    await _is_held(rollout)

    await rollout.skip(timedelta(days=2))
    held = await rollout.status()
    assert (held.phase, held.timers) == (AWAITING, ())
    assert f"no: {code.value}" in held.holding
    assert rollout.script.names().count("switch") == 1
    await rollout.handle.signal(signal, payload)

    await rollout.phase(RolloutPhase.BAKING)
    assert [step.door for step in rollout.script.inputs("switch")] == [Channel.TIMER, Channel.TIMER]
    await rollout.record(f"held-{code.value.lower().replace('_', '-')}")


@pytest.mark.parametrize("code", [RefusalCode.FROZEN, RefusalCode.KEEPER_SILENT, RefusalCode.BLUE_CHANGED])
async def test_a_refusal_that_is_not_greens_fault_is_no_regression(
    rollout: "RunningRollout",
    code: RefusalCode,
) -> None:
    rollout.script.switch = [refused(code)]
    await rollout.wait_for_promotion(max_regressions=0)

    for _ in range(3):
        with pytest.raises(RefusedError) as told:
            await rollout.promote(by="ann")
        assert told.value.refusal.code is code

    status = await rollout.phase(AWAITING)
    assert "regressed" not in status.holding
    await rollout.abort(by="ann")
    await rollout.ended()
    assert rollout.script.inputs("finish")[0].evidence["regressions"] == "0"
    # By what the lines say of the hold it is told once, however often it refuses.
    await rollout.until(lambda: len(rollout.script.evidence("promotion_refused")) == 3)
    first, *others = rollout.script.evidence("promotion_refused")
    assert first["held_by"] == code.value.lower()
    assert others == [first, first]


async def test_a_hold_does_not_start_the_delay_anew(rollout: "RunningRollout") -> None:
    rollout.script.switch = [refused(RefusalCode.FROZEN), SWITCHED]
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    before = await rollout.status()

    with pytest.raises(RefusedError):
        await rollout.promote(by="ann")
    await rollout.handle.signal(contracts.GATE_CHANGED, {"rollout": ROLLOUT, "what": "the freeze has ended"})
    after = await rollout.status()

    assert (after.since, [timer.fires_at for timer in after.timers]) == (
        before.since,
        [timer.fires_at for timer in before.timers],
    )


async def test_a_signal_of_another_rollout_ends_no_hold(rollout: "RunningRollout") -> None:
    rollout.script.switch = [refused(RefusalCode.FROZEN)]
    await rollout.wait_for_promotion(auto_promote=True)
    await _is_held(rollout)

    await rollout.handle.signal(contracts.GATE_CHANGED, {"rollout": ROLLOUT + 1, "what": "the freeze has ended"})
    await rollout.handle.signal(contracts.KEEPER_BACK, {"rollout": ROLLOUT, "ready": 3, "required": 3})
    await rollout.until_nothing_is_in_flight()

    assert "no: FROZEN" in (await rollout.status()).holding
    assert rollout.script.names().count("switch") == 1


async def test_an_end_of_a_hold_that_overtakes_the_refusal_is_not_missed(rollout: "RunningRollout") -> None:
    rollout.script.switch = [refused(RefusalCode.KEEPER_SILENT), SWITCHED]
    answers = rollout.script.hold("switch")
    await rollout.start(auto_promote=True)
    await rollout.edge(SetCondition.READY)
    await rollout.until(lambda: "switch" in rollout.script.names())

    await rollout.handle.signal(contracts.KEEPER_BACK, {"rollout": ROLLOUT, "ready": 3, "required": 3})
    await rollout.until_event("WORKFLOW_EXECUTION_SIGNALED", 2)
    answers.set()

    await rollout.phase(RolloutPhase.BAKING)


async def test_a_person_promotes_although_timers_are_held(rollout: "RunningRollout") -> None:
    rollout.script.switch = [refused(RefusalCode.KEEPER_SILENT), SWITCHED]
    await rollout.wait_for_promotion(auto_promote=True)
    await _is_held(rollout)

    assert (await rollout.promote(by="ann")).state is PromoteState.SWITCHED

    assert (await rollout.status()).holding == ""


async def test_a_rollout_whose_blue_has_changed_waits_for_its_abort(rollout: "RunningRollout") -> None:
    rollout.script.switch = [refused(RefusalCode.BLUE_CHANGED)]
    await rollout.wait_for_promotion(auto_promote=True, promotion_deadline="2h", on_deadline="promote")
    await _is_held(rollout)

    await rollout.skip(timedelta(days=1))

    status = await rollout.status()
    assert (status.phase, rollout.script.names().count("switch")) == (AWAITING, 1)
    assert "celadon abort" in status.holding
    assert (await rollout.abort(by="ann")).outcome is RolloutOutcome.ABORTED


@pytest.mark.parametrize("code", [RefusalCode.KEEPER_SILENT, RefusalCode.BLUE_CHANGED, RefusalCode.FORBIDDEN])
async def test_a_deadline_that_aborts_ends_a_rollout_that_is_held(rollout: "RunningRollout", code: RefusalCode) -> None:
    rollout.script.switch = [refused(code)]
    await rollout.wait_for_promotion(auto_promote=True, promotion_deadline="2h")
    await _is_held(rollout)
    assert [timer.name for timer in (await rollout.status()).timers] == ["promotion deadline"]

    await rollout.skip(timedelta(hours=2, minutes=1))

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.EXPIRED
    assert ended.result.reason == f"nobody promoted within 2h, and the switch was on hold: no: {code.value}"
    if code is RefusalCode.KEEPER_SILENT:
        await rollout.record("expired-while-held")


async def test_a_deadline_that_promotes_waits_for_the_end_of_a_hold(rollout: "RunningRollout") -> None:
    rollout.script.switch = [refused(RefusalCode.KEEPER_SILENT), SWITCHED]
    await rollout.wait_for_promotion(promotion_deadline="2h", on_deadline="promote", max_regressions=0)
    await rollout.skip(timedelta(hours=2, minutes=1))
    await _is_held(rollout)

    await rollout.skip(timedelta(days=1))
    assert (await rollout.status()).phase is AWAITING
    await rollout.handle.signal(contracts.KEEPER_BACK, {"rollout": ROLLOUT, "ready": 3, "required": 3})

    await rollout.phase(RolloutPhase.BAKING)


async def test_a_deadline_that_aborts_stands_still_while_the_rollout_is_frozen(rollout: "RunningRollout") -> None:
    rollout.script.switch = [refused(RefusalCode.FROZEN)]
    await rollout.wait_for_promotion(auto_promote=True, promotion_deadline="2h")
    await _is_held(rollout)

    await rollout.skip(timedelta(days=1))

    assert (await rollout.status()).phase is AWAITING


async def test_a_held_rollout_costs_nothing(rollout: "RunningRollout") -> None:
    rollout.script.switch = [refused(RefusalCode.FROZEN)]
    await rollout.wait_for_promotion(auto_promote=True)
    await _is_held(rollout)
    before = await rollout.events()

    await rollout.skip(timedelta(days=7))

    assert await rollout.events() == before


async def test_a_first_deployment_that_is_held_goes_live_when_the_hold_has_ended(rollout: "RunningRollout") -> None:
    rollout.script.blue, rollout.script.gated = None, False
    rollout.script.switch = [refused(RefusalCode.KEEPER_SILENT), SWITCHED]
    await rollout.wait_for_promotion()
    await _is_held(rollout)

    await rollout.handle.signal(contracts.KEEPER_BACK, {"rollout": ROLLOUT, "ready": 3, "required": 3})

    async with asyncio.timeout(60):
        ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
