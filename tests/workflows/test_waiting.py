"""A rollout that waits costs nothing: one timer, nothing in flight, no history."""

from datetime import timedelta
from typing import TYPE_CHECKING

from celadon.domain.language.states import RolloutPhase, SetCondition

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout


async def test_a_week_at_the_gate_writes_no_history(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="8d")
    before = await rollout.events()

    await rollout.skip(timedelta(days=7))

    assert await rollout.events() == before


async def test_nothing_is_in_flight_while_green_starts_waits_or_bakes(rollout: "RunningRollout") -> None:
    await rollout.start()
    await rollout.until_nothing_is_in_flight()

    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    await rollout.until(lambda: rollout.script.names().count("enter_phase") == 2)
    await rollout.until_nothing_is_in_flight()

    await rollout.promote()
    await rollout.phase(RolloutPhase.BAKING)
    await rollout.until_nothing_is_in_flight()


async def test_a_rollout_costs_the_same_events_whatever_it_waited(rollout: "RunningRollout") -> None:
    # Both waits together do not make it go on in a new run. On a busy machine one skip may take the next wait along.
    await rollout.wait_for_promotion(auto_promote=True, promote_after="5d", bake="5d")
    await rollout.skip(timedelta(days=6))
    # The bake counts from the switch: the next skip waits for that, however slow the machine is.
    await rollout.until_status(
        lambda status: status.phase not in {RolloutPhase.AWAITING_PROMOTION, RolloutPhase.SWITCHING}
    )
    await rollout.skip(timedelta(days=6))
    await rollout.ended()

    assert await rollout.events() <= 80
