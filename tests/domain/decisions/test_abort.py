"""What an abort or a rollback may do in each phase."""

import pytest

from celadon.domain.decisions.abort import pending_after, recorded, refuse_abort
from celadon.domain.language.commands import AbortCommand, AbortState
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.messages import GreenChanged
from celadon.domain.language.names import Epoch
from celadon.domain.language.progress import PendingAbort
from celadon.domain.language.states import RolloutPhase, SetCondition
from celadon.domain.language.steps import SwitchAnswer
from tests.domain.rollouts import NOW, abort, before, green, rollout


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


# What becomes of an abort that the table has answered.

SICK = "blue cannot take the traffic for the moment (1 of 3 healthy, 3 required)"
WAITING = PendingAbort(request=abort(by="ann"), since=before(minutes=2), why="0 of 3 healthy")


def refused(code: RefusalCode, **answer: bool) -> SwitchAnswer:
    return SwitchAnswer(refusal=Refusal(code=code, message=SICK), **answer)


@pytest.mark.parametrize("code", list(RefusalCode))
def test_only_a_blue_that_is_sick_for_the_moment_leaves_an_abort_pending(code: RefusalCode) -> None:
    pending = pending_after(None, abort(), refused(code), NOW)

    assert (pending is not None) is (code is RefusalCode.NO_HEALTHY_BLUE)


def test_a_pending_abort_knows_since_when_and_why() -> None:
    pending = pending_after(None, abort(by="bob"), refused(RefusalCode.NO_HEALTHY_BLUE), NOW)

    assert pending == PendingAbort(request=abort(by="bob"), since=NOW, why=SICK)


@pytest.mark.parametrize("request_by", ["ann", "bob"])
def test_the_first_abort_stays_pending_with_what_was_said_last(request_by: str) -> None:
    pending = pending_after(WAITING, abort(by=request_by), refused(RefusalCode.NO_HEALTHY_BLUE), NOW)

    assert pending == WAITING.model_copy(update={"why": SICK})


@pytest.mark.parametrize(
    "answer",
    [
        SwitchAnswer(epoch=Epoch(6)),
        refused(RefusalCode.BLUE_DRAINED),
        refused(RefusalCode.NO_BLUE),
        refused(RefusalCode.GREEN_CHANGED),
        refused(RefusalCode.NOT_OWNER),
    ],
)
def test_success_and_an_incurable_refusal_end_a_pending_abort(answer: SwitchAnswer) -> None:
    assert pending_after(WAITING, abort(by="bob"), answer, NOW) is None


def test_a_message_that_does_not_count_ends_no_pending_abort_but_its_own() -> None:
    not_counted = refused(RefusalCode.UNSIGNED, message_refused=True)

    assert pending_after(WAITING, abort(by="eve"), not_counted, NOW) == WAITING
    assert pending_after(WAITING, WAITING.request, not_counted, NOW) is None
    assert pending_after(None, abort(by="eve"), not_counted, NOW) is None


@pytest.mark.parametrize(
    ("phase", "until"),
    [(RolloutPhase.BAKING, "it goes back as soon as it can"), (RolloutPhase.DRAINING, "before it is gone")],
)
def test_a_recorded_abort_says_why_it_waits_and_until_when(phase: RolloutPhase, until: str) -> None:
    answer = recorded(Refusal(code=RefusalCode.NO_HEALTHY_BLUE, message=SICK), phase)

    assert (answer.state, answer.outcome, answer.epoch) == (AbortState.RECORDED, None, None)
    assert answer.why.startswith(SICK)
    assert answer.why.endswith(until)
