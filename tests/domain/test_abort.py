"""What an abort or a rollback may do in each phase."""

import pytest

from celadon.domain.abort import refuse_abort
from celadon.domain.errors import RefusalCode
from celadon.domain.messages import AbortCommand, GreenChanged
from celadon.domain.states import RolloutPhase, SetCondition
from tests.domain.rollouts import green, rollout


@pytest.mark.parametrize(
    ("phase", "abort", "rollback"),
    [
        (RolloutPhase.PROVISIONING, None, RefusalCode.NO_BLUE),
        (RolloutPhase.VERIFYING, None, RefusalCode.NO_BLUE),
        (RolloutPhase.AWAITING_PROMOTION, None, RefusalCode.NO_BLUE),
        (RolloutPhase.SWITCHING, None, None),
        (RolloutPhase.BAKING, None, None),
        (RolloutPhase.DRAINING, None, None),
        (RolloutPhase.ROLLING_BACK, RefusalCode.ROLLING_BACK, RefusalCode.ROLLING_BACK),
        (RolloutPhase.COMPLETED, RefusalCode.ROLLOUT_ENDED, RefusalCode.ROLLOUT_ENDED),
    ],
)
def test_every_phase_has_its_answer(
    phase: RolloutPhase,
    abort: RefusalCode | None,
    rollback: RefusalCode | None,
) -> None:
    for asked, expected in ((False, abort), (True, rollback)):
        refusal = refuse_abort(rollout(phase), AbortCommand(), rollback=asked)

        assert (refusal.code if refusal else None) is expected
        assert refusal is None or (refusal.message and refusal.next_step)


@pytest.mark.parametrize("phase", [RolloutPhase.BAKING, RolloutPhase.DRAINING])
def test_after_a_first_switch_there_is_no_blue_to_go_back_to(phase: RolloutPhase) -> None:
    refusal = refuse_abort(rollout(phase, blue_set=None), AbortCommand(), rollback=True)

    assert refusal is not None
    assert refusal.code is RefusalCode.NO_BLUE


@pytest.mark.parametrize("phase", list(RolloutPhase))
@pytest.mark.parametrize("rollback", [False, True])
def test_an_abort_of_another_rollout_is_refused_in_every_phase(phase: RolloutPhase, *, rollback: bool) -> None:
    refusal = refuse_abort(rollout(phase), AbortCommand(rollout=6), rollback=rollback)

    assert refusal is not None
    assert refusal.code is RefusalCode.WRONG_ROLLOUT


@pytest.mark.parametrize("phase", list(RolloutPhase))
@pytest.mark.parametrize("edge", [None, green(SetCondition.RUNNING), green(SetCondition.FAILED)])
def test_an_abort_never_depends_on_greens_health(phase: RolloutPhase, edge: GreenChanged | None) -> None:
    command = AbortCommand(rollout=7)

    assert refuse_abort(rollout(phase, green=edge), command, rollback=False) == refuse_abort(
        rollout(phase),
        command,
        rollback=False,
    )
