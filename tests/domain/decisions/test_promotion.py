"""May a promotion go ahead, and if not, why."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.promotion import refuse_promotion
from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.progress import Winner
from celadon.domain.language.states import Channel, RolloutPhase, SetCondition
from tests.domain.rollouts import NOW, abort, green, rollout

AWAITING, VERIFYING = RolloutPhase.AWAITING_PROMOTION, RolloutPhase.VERIFYING
FORCED = {"force": True, "reason": "the checks are wrong"}
SICK = green(SetCondition.RUNNING, ready=2, last_error="GET /health answered 500")


def code(phase: RolloutPhase, command: dict[str, Any], **fields: Any) -> RefusalCode | None:
    refusal = refuse_promotion(rollout(phase, **fields), PromoteCommand(**command))
    return None if refusal is None else refusal.code


@pytest.mark.parametrize(
    "command",
    [{}, {"revision": 2}, {"rollout": 7}, {"revision": 2, "rollout": 7, "by": "ann"}, FORCED],
)
def test_a_green_that_waits_is_promoted(command: dict[str, Any]) -> None:
    assert code(AWAITING, command) is None


@pytest.mark.parametrize(
    ("phase", "plain", "forced"),
    [
        (RolloutPhase.PROVISIONING, RefusalCode.NOT_AWAITING_PROMOTION, RefusalCode.NOT_AWAITING_PROMOTION),
        (RolloutPhase.VERIFYING, RefusalCode.NOT_AWAITING_PROMOTION, None),
        (RolloutPhase.AWAITING_PROMOTION, None, None),
        (RolloutPhase.SWITCHING, RefusalCode.ALREADY_DECIDED, RefusalCode.ALREADY_DECIDED),
        (RolloutPhase.BAKING, RefusalCode.ALREADY_DECIDED, RefusalCode.ALREADY_DECIDED),
        (RolloutPhase.DRAINING, RefusalCode.ALREADY_DECIDED, RefusalCode.ALREADY_DECIDED),
        (RolloutPhase.ROLLING_BACK, RefusalCode.ROLLING_BACK, RefusalCode.ROLLING_BACK),
        (RolloutPhase.COMPLETED, RefusalCode.ROLLOUT_ENDED, RefusalCode.ROLLOUT_ENDED),
    ],
)
def test_every_phase_has_its_answer(
    phase: RolloutPhase,
    plain: RefusalCode | None,
    forced: RefusalCode | None,
) -> None:
    assert code(phase, {}) is plain
    assert code(phase, FORCED) is forced


@pytest.mark.parametrize("phase", [RolloutPhase.SWITCHING, RolloutPhase.BAKING, RolloutPhase.DRAINING])
def test_who_comes_second_is_told_who_has_decided(phase: RolloutPhase) -> None:
    winner = Winner(by="ann", door=Channel.API, at=NOW)

    refusal = refuse_promotion(rollout(phase, winner=winner), PromoteCommand(by="ben"))

    assert refusal is not None
    assert "already decided by ann (api) at 2026-03-01 12:00:00 UTC: the rollout is" in refusal.message


@pytest.mark.parametrize("phase", list(RolloutPhase))
@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        ({"revision": 1}, RefusalCode.WRONG_REVISION),
        ({"revision": 3, **FORCED}, RefusalCode.WRONG_REVISION),
        ({"rollout": 6}, RefusalCode.WRONG_ROLLOUT),
        ({"rollout": 6, "revision": 2, **FORCED}, RefusalCode.WRONG_ROLLOUT),
        ({"rollout": 6, "revision": 9}, RefusalCode.WRONG_ROLLOUT),
        ({"force": True}, RefusalCode.FORCE_NEEDS_REASON),
        ({"force": True, "reason": "  "}, RefusalCode.FORCE_NEEDS_REASON),
    ],
)
def test_a_promotion_that_means_something_else_is_refused_in_every_phase(
    phase: RolloutPhase,
    command: dict[str, Any],
    refusal: RefusalCode,
) -> None:
    assert code(phase, command) is refusal


@pytest.mark.parametrize("fields", [{"green": SICK}, {"green": None}, {"green": green(SetCondition.FAILED)}])
@pytest.mark.parametrize(("phase", "command"), [(AWAITING, {}), (AWAITING, FORCED), (VERIFYING, FORCED)])
def test_too_few_healthy_greens_are_refused_forced_or_not(
    phase: RolloutPhase,
    command: dict[str, Any],
    fields: dict[str, Any],
) -> None:
    assert code(phase, command, **fields) is RefusalCode.NO_HEALTHY_GREEN


def test_a_green_that_failed_is_not_promoted_however_many_are_healthy() -> None:
    failed = green(SetCondition.FAILED, ready=3)

    assert code(AWAITING, {}, green=failed) is RefusalCode.NO_HEALTHY_GREEN


def test_the_refusal_of_a_sick_green_says_how_many_and_why() -> None:
    refusal = refuse_promotion(rollout(green=SICK), PromoteCommand())

    assert refusal is not None
    assert "2, required are 3" in str(refusal)
    assert "GET /health answered 500" in str(refusal)


@pytest.mark.parametrize(("phase", "command"), [(AWAITING, {}), (AWAITING, FORCED), (VERIFYING, FORCED)])
def test_a_promotion_after_an_abort_is_told_who_aborted(phase: RolloutPhase, command: dict[str, Any]) -> None:
    refusal = refuse_promotion(rollout(phase, abort=abort(by="bob")), PromoteCommand(**command))

    assert refusal is not None
    assert refusal.code is RefusalCode.ABORT_REQUESTED
    assert "bob" in refusal.message


@given(
    st.sampled_from(RolloutPhase),
    st.sampled_from([None, SICK, green(), green(SetCondition.STARTING), green(SetCondition.FAILED)]),
    st.builds(
        PromoteCommand,
        revision=st.sampled_from([None, 1, 2]),
        rollout=st.sampled_from([None, 6, 7]),
        force=st.booleans(),
        reason=st.sampled_from(["", "why"]),
    ),
)
def test_every_refusal_says_why_and_what_next(phase: RolloutPhase, edge: Any, command: PromoteCommand) -> None:
    refusal = refuse_promotion(rollout(phase, green=edge), command)

    assert refusal is None or (refusal.message and refusal.next_step)
    assert refusal is not None or (edge is not None and edge.ready >= edge.required)
