"""What a rollout that waits says of its promotion, from which notifications are made: no step and no event is added."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from celadon.domain.language.states import RolloutPhase, SetCondition
from celadon.domain.language.steps import PhaseStep

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout


def gates(rollout: "RunningRollout") -> list[tuple[datetime, dict[str, str]]]:
    """Return the moments and the evidence of all lines with which the rollout began to wait."""
    steps: list[PhaseStep] = rollout.script.inputs("enter_phase")
    lines = {note.seq: note for step in steps for note in step.notes if note.kind == "awaiting_promotion"}
    return [(lines[seq].at, lines[seq].evidence) for seq in sorted(lines)]


async def test_a_wait_tells_its_timers(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h", promotion_deadline="2h")
    await rollout.until(lambda: bool(gates(rollout)))

    ((at, evidence),) = gates(rollout)
    assert evidence == {
        "waits_for": "a person or a timer",
        "promotes_at": (at + timedelta(hours=1)).isoformat(),
        "deadline": (at + timedelta(hours=2)).isoformat(),
    }


async def test_a_deadline_stays_where_it_was_when_green_regresses(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(promotion_deadline="2h")
    await rollout.skip(timedelta(minutes=50))
    await rollout.edge(SetCondition.RUNNING)
    await rollout.phase(RolloutPhase.VERIFYING)
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    await rollout.until(lambda: len(gates(rollout)) == 2)

    (first, told), (second, told_again) = gates(rollout)
    assert second - first >= timedelta(minutes=50)
    assert told == told_again == {"waits_for": "a person", "deadline": (first + timedelta(hours=2)).isoformat()}


async def test_a_rollout_that_holds_waits_for_a_person_without_a_deadline(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(promotion_deadline="2h", max_regressions=0)
    await rollout.edge(SetCondition.RUNNING)
    await rollout.phase(RolloutPhase.VERIFYING)
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    await rollout.until(lambda: len(gates(rollout)) == 2)

    assert gates(rollout)[1][1] == {"waits_for": "a person"}


async def test_what_is_promoted_at_once_waits_for_nobody(rollout: "RunningRollout") -> None:
    rollout.script.gated = False
    await rollout.start()
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.BAKING)

    assert [evidence for _, evidence in gates(rollout)] == [{}]
