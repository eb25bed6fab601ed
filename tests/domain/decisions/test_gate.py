"""What a rollout does next before the switch."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.former_gate import FORMER_GUARDS
from celadon.domain.decisions.gate import (
    DEADLINE_TIMER,
    PROMOTION_TIMER,
    PROVISIONING_TIMER,
    Enter,
    GateDecision,
    GoAhead,
    GoBack,
    Wait,
    decide,
    hold_after,
    hold_over_regression,
    is_greens_fault,
)
from celadon.domain.decisions.pause import PAUSE_TIMER
from celadon.domain.language.approval import ApprovalRule
from celadon.domain.language.contracts import GATE_CHANGED, KEEPER_BACK, ROOM_CHANGED
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.names import Epoch
from celadon.domain.language.pause import Pause
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy, OnDeadline
from celadon.domain.language.progress import Hold, HoldKind, Progress
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import SwitchAnswer
from tests.domain.rollouts import NOW, abort, before, green, promotion, rollout

PROVISIONING, VERIFYING = RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING
AWAITING = RolloutPhase.AWAITING_PROMOTION
GATE = (PROVISIONING, VERIFYING, AWAITING)
BEYOND = tuple(phase for phase in RolloutPhase if phase not in GATE)


def decision(phase: RolloutPhase, **fields: Any) -> GateDecision:
    return decide(rollout(phase, **fields), NOW)


def auto(**keys: Any) -> BlueGreenPolicy:
    return BlueGreenPolicy(**{"auto_promote": True} | keys)


@pytest.mark.parametrize("phase", BEYOND)
def test_behind_the_gate_nothing_is_decided(phase: RolloutPhase) -> None:
    with pytest.raises(ValueError, match="has left the gate behind"):
        decision(phase)


# Provisioning.


@pytest.mark.parametrize("edge", [None, green(SetCondition.STARTING, running=2)])
def test_provisioning_waits_until_green_is_full(edge: Any) -> None:
    decided = decision(PROVISIONING, green=edge, since=before(minutes=4))

    assert decided == Wait(timers=((PROVISIONING_TIMER, NOW + timedelta(minutes=6)),))


@pytest.mark.parametrize("condition", [SetCondition.RUNNING, SetCondition.READY])
def test_a_full_green_is_verified_next(condition: SetCondition) -> None:
    decided = decision(PROVISIONING, green=green(condition))

    assert isinstance(decided, Enter)
    assert decided.phase is VERIFYING


def test_a_full_green_is_verified_even_at_the_deadline() -> None:
    decided = decision(PROVISIONING, since=before(minutes=10))

    assert isinstance(decided, Enter)


def test_a_promotion_is_no_reason_to_leave_provisioning() -> None:
    decided = decision(PROVISIONING, green=None, promotion=promotion(force=True, reason="now"))

    assert isinstance(decided, Wait)


# Verifying.


def test_verifying_waits_for_health() -> None:
    decided = decision(VERIFYING, green=green(SetCondition.RUNNING))

    assert isinstance(decided, Wait)
    assert decided.first == (PROVISIONING_TIMER, NOW + timedelta(minutes=9))


def test_a_verified_green_awaits_its_promotion() -> None:
    decided = decision(VERIFYING)

    assert isinstance(decided, Enter)
    assert decided.phase is AWAITING


def test_a_verified_green_awaits_its_promotion_even_at_the_deadline() -> None:
    assert isinstance(decision(VERIFYING, since=before(hours=1)), Enter)


def test_a_forced_promotion_leaves_verifying_at_once() -> None:
    decided = decision(VERIFYING, green=green(SetCondition.RUNNING), promotion=promotion(force=True, reason="checked"))

    assert decided == GoAhead(by="ann", door=Channel.SIGNAL, reason="checked", force=True)


def test_a_plain_promotion_does_not_leave_verifying() -> None:
    decided = decision(VERIFYING, green=green(SetCondition.RUNNING), promotion=promotion())

    assert isinstance(decided, Wait)


@pytest.mark.parametrize("phase", [PROVISIONING, VERIFYING])
def test_a_green_that_is_not_healthy_in_time_fails_with_what_was_seen(phase: RolloutPhase) -> None:
    edge = green(SetCondition.STARTING, ready=1, running=2, last_error="port 8000 refused")

    decided = (
        decision(phase, green=edge, since=before(minutes=10))
        if phase is PROVISIONING
        else decision(
            phase,
            green=edge.model_copy(update={"condition": SetCondition.RUNNING}),
            since=before(minutes=10),
        )
    )

    assert isinstance(decided, GoBack)
    assert decided.outcome is RolloutOutcome.FAILED
    assert decided.reason == (
        "green was not healthy within 10m (2 of 3 ran, 1 of 3 were healthy; last error: port 8000 refused)"
    )


def test_a_green_that_nobody_saw_fails_at_the_deadline_too() -> None:
    decided = decision(PROVISIONING, green=None, since=before(minutes=10))

    assert isinstance(decided, GoBack)
    assert decided.reason == "green was not healthy within 10m"


def test_provisioning_and_verifying_share_one_deadline() -> None:
    decided = decision(
        VERIFYING,
        green=green(SetCondition.RUNNING),
        unverified_since=before(minutes=10),
        since=before(minutes=1),
    )

    assert isinstance(decided, GoBack)


# Awaiting promotion.


def test_without_automatic_promotion_a_person_decides() -> None:
    assert decision(AWAITING) == Wait(timers=())


def test_a_persons_promotion_goes_ahead_at_once_whatever_the_timers_say() -> None:
    decided = decision(AWAITING, policy=auto(promote_after=timedelta(hours=1)), promotion=promotion(reason="reviewed"))

    assert decided == GoAhead(by="ann", door=Channel.SIGNAL, reason="reviewed")


def test_automatic_promotion_without_delay_goes_ahead_at_once() -> None:
    decided = decision(AWAITING, policy=auto(), verified_since=NOW)

    assert isinstance(decided, GoAhead)
    assert decided.door is Channel.TIMER


@pytest.mark.parametrize("seconds", [1, 3600, 3650 * 86_400])
def test_automatic_promotion_waits_for_the_delay_since_green_was_verified(seconds: int) -> None:
    delay = timedelta(seconds=seconds)

    decided = decision(AWAITING, policy=auto(promote_after=delay), verified_since=NOW)

    assert decided == Wait(timers=((PROMOTION_TIMER, NOW + delay),))


def test_automatic_promotion_goes_ahead_when_the_delay_is_over() -> None:
    decided = decision(AWAITING, policy=auto(promote_after=timedelta(minutes=1)), verified_since=before(minutes=1))

    assert decided == GoAhead(by="policy", door=Channel.TIMER, reason="auto_promote, 1m after green was verified")


@pytest.mark.parametrize(("delay", "at", "due"), [("1h", 2, 2), ("2h", 1, 2), ("0s", 3, 3)])
def test_the_timer_is_the_later_of_the_moment_and_the_end_of_the_delay(delay: str, at: int, due: int) -> None:
    policy = parse_payload(
        BlueGreenPolicy, {"auto_promote": True, "promote_after": delay, "promote_at": str(NOW + timedelta(hours=at))}
    )

    decided = decision(AWAITING, policy=policy, verified_since=NOW)

    assert decided == Wait(timers=((PROMOTION_TIMER, NOW + timedelta(hours=due)),))


def test_a_moment_that_is_past_holds_up_nothing() -> None:
    decided = decision(AWAITING, policy=auto(promote_at=before(days=1)), verified_since=NOW)

    assert decided == GoAhead(by="policy", door=Channel.TIMER, reason="auto_promote, 0s after green was verified")


def test_a_promotion_at_its_moment_says_which() -> None:
    decided = decision(AWAITING, policy=auto(promote_at=NOW), verified_since=before(hours=1))

    assert isinstance(decided, GoAhead)
    assert decided.reason == f"auto_promote, at {NOW:%Y-%m-%d %H:%M:%S} UTC"


def test_a_moment_that_was_given_in_another_zone_is_told_in_utc() -> None:
    policy = parse_payload(BlueGreenPolicy, {"auto_promote": True, "promote_at": "2026-03-01T13:00:00+01:00"})

    decided = decision(AWAITING, policy=policy, verified_since=before(hours=1))

    assert isinstance(decided, GoAhead)
    assert decided.reason == "auto_promote, at 2026-03-01 12:00:00 UTC"


def test_a_person_need_not_wait_for_the_moment() -> None:
    decided = decision(
        AWAITING, policy=auto(promote_at=NOW + timedelta(days=1)), promotion=promotion(), verified_since=NOW
    )

    assert isinstance(decided, GoAhead)


def test_a_deadline_before_the_moment_decides() -> None:
    policy = auto(promote_at=NOW + timedelta(days=1), promotion_deadline=timedelta(hours=1))

    decided = decision(AWAITING, policy=policy, verified_since=NOW, waited_since=before(hours=1))

    assert isinstance(decided, GoBack)
    assert decided.outcome is RolloutOutcome.EXPIRED


def test_a_green_that_regressed_is_verified_anew() -> None:
    decided = decision(AWAITING, policy=auto(), green=green(SetCondition.RUNNING, ready=2))

    assert decided == Enter(phase=VERIFYING, why="green regressed")


@pytest.mark.parametrize(("by_itself", "why"), [(True, "green regressed"), (False, "green grows")])
def test_a_green_that_dipped_is_verified_anew_although_it_is_ready_again(why: str, *, by_itself: bool) -> None:
    """The delay counts from the moment all of green was verified, so the timer does not decide."""
    decided = decision(AWAITING, policy=auto(), regressed_since_verified=True, regressed_by_itself=by_itself)

    assert decided == Enter(phase=VERIFYING, why=why)


def test_a_persons_promotion_of_a_green_that_is_ready_again_goes_ahead() -> None:
    assert isinstance(decision(AWAITING, regressed_since_verified=True, promotion=promotion()), GoAhead)


def test_a_promotion_of_a_green_that_regressed_does_not_go_ahead() -> None:
    decided = decision(AWAITING, green=green(SetCondition.RUNNING, ready=2), promotion=promotion())

    assert isinstance(decided, Enter)


def test_a_first_deployment_without_a_gate_goes_live_by_itself() -> None:
    decided = decision(AWAITING, gated=False, blue_set=None)

    assert decided == GoAhead(by="policy", door=Channel.POLICY, reason="first deployment")


def test_a_rollback_inside_its_window_goes_live_by_itself() -> None:
    decided = decision(AWAITING, gated=False)

    assert decided == GoAhead(by="policy", door=Channel.POLICY, reason="rollback inside its window")


@pytest.mark.parametrize(
    ("on_deadline", "decided"),
    [
        (
            OnDeadline.ABORT,
            GoBack(outcome=RolloutOutcome.EXPIRED, by="policy", door=Channel.TIMER, reason="nobody promoted within 1h"),
        ),
        (
            OnDeadline.PROMOTE,
            GoAhead(by="policy", door=Channel.TIMER, reason="promotion_deadline of 1h, on_deadline: promote"),
        ),
        (OnDeadline.HOLD, Wait(timers=())),
    ],
)
def test_the_promotion_deadline_does_what_the_policy_says(on_deadline: OnDeadline, decided: GateDecision) -> None:
    policy = BlueGreenPolicy(promotion_deadline=timedelta(hours=1), on_deadline=on_deadline)

    assert decision(AWAITING, policy=policy, waited_since=before(hours=1)) == decided


def test_the_promotion_deadline_counts_from_the_first_wait_although_green_regressed_meanwhile() -> None:
    policy = BlueGreenPolicy(promotion_deadline=timedelta(hours=1))

    decided = decision(AWAITING, policy=policy, verified_since=NOW, since=NOW, waited_since=before(minutes=59))

    assert decided == Wait(timers=((DEADLINE_TIMER, NOW + timedelta(minutes=1)),))


def test_of_two_timers_the_earlier_one_is_waited_for() -> None:
    policy = auto(promote_after=timedelta(hours=2), promotion_deadline=timedelta(hours=1))

    decided = decision(AWAITING, policy=policy, verified_since=NOW, waited_since=NOW)

    assert isinstance(decided, Wait)
    assert decided.first == (DEADLINE_TIMER, NOW + timedelta(hours=1))
    assert len(decided.timers) == 2


@pytest.mark.parametrize(("promote_minutes", "promoted"), [(50, True), (60, True), (70, False)])
def test_of_two_timers_that_are_due_the_earlier_one_decides(promote_minutes: int, *, promoted: bool) -> None:
    policy = auto(promote_after=timedelta(minutes=promote_minutes), promotion_deadline=timedelta(hours=1))

    decided = decision(AWAITING, policy=policy, verified_since=before(hours=2), waited_since=before(hours=2))

    assert isinstance(decided, GoAhead if promoted else GoBack)


def test_a_message_beats_a_timer_that_is_due() -> None:
    policy = BlueGreenPolicy(promotion_deadline=timedelta(hours=1))

    decided = decision(AWAITING, policy=policy, waited_since=before(hours=2), promotion=promotion())

    assert isinstance(decided, GoAhead)
    assert decided.by == "ann"


# Regressions without end.

PROMOTES = {"promotion_deadline": timedelta(0), "on_deadline": OnDeadline.PROMOTE}


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("policy", [auto(max_regressions=2), auto(max_regressions=2, **PROMOTES)])
def test_after_too_many_regressions_no_timer_decides(policy: BlueGreenPolicy, *, gated: bool) -> None:
    assert decision(AWAITING, policy=policy, regressions=3, gated=gated) == Wait(timers=())


def test_as_many_regressions_as_allowed_leave_the_timers_alone() -> None:
    assert isinstance(decision(AWAITING, policy=auto(max_regressions=2), regressions=2), GoAhead)


def test_after_too_many_regressions_a_sick_green_has_no_deadline() -> None:
    policy = auto(max_regressions=2)

    decided = decision(
        VERIFYING,
        policy=policy,
        regressions=3,
        green=green(SetCondition.RUNNING),
        since=before(hours=9),
    )

    assert decided == Wait(timers=())


def test_after_too_many_regressions_a_person_still_promotes() -> None:
    decided = decision(AWAITING, policy=auto(max_regressions=2), regressions=3, promotion=promotion())

    assert isinstance(decided, GoAhead)


# Holds.


def refused(code: RefusalCode, **answer: Any) -> SwitchAnswer:
    return SwitchAnswer(refusal=Refusal(code=code, message="no"), **answer)


HOLDS = [
    (RefusalCode.FROZEN, HoldKind.FROZEN, GATE_CHANGED),
    (RefusalCode.KEEPER_SILENT, HoldKind.KEEPER_SILENT, KEEPER_BACK),
    (RefusalCode.BLUE_CHANGED, HoldKind.BLUE_CHANGED, ""),
    (RefusalCode.FORBIDDEN, HoldKind.NOT_BY_ITSELF, ""),
    (RefusalCode.APPROVALS_MISSING, HoldKind.APPROVALS, ""),
    (RefusalCode.NO_ROOM, HoldKind.NO_ROOM, ROOM_CHANGED),
]


@pytest.mark.parametrize(("code", "kind", "ended_by"), HOLDS)
def test_a_refusal_that_is_nobodys_fault_is_a_hold_that_names_what_ends_it(
    code: RefusalCode,
    kind: HoldKind,
    ended_by: str,
) -> None:
    assert hold_after(None, refused(code), NOW) == Hold(kind=kind, since=NOW, why="no", ended_by=ended_by)


def test_a_hold_that_is_met_again_lasts_since_it_began() -> None:
    first = hold_after(None, refused(RefusalCode.FROZEN), before(hours=1))

    again = hold_after(first, refused(RefusalCode.FROZEN), NOW)
    other = hold_after(first, refused(RefusalCode.KEEPER_SILENT), NOW)

    assert again is not None
    assert again.since == before(hours=1)
    assert other is not None
    assert other.since == NOW


def test_a_message_that_does_not_count_leaves_the_hold_as_it_was() -> None:
    held = hold_after(None, refused(RefusalCode.FROZEN), NOW)

    assert hold_after(held, refused(RefusalCode.UNSIGNED, message_refused=True), NOW) == held
    assert hold_after(None, refused(RefusalCode.FORBIDDEN, message_refused=True), NOW) is None


def test_a_switch_that_is_refused_for_greens_health_ends_the_hold() -> None:
    held = hold_after(None, refused(RefusalCode.FROZEN), NOW)

    assert hold_after(held, refused(RefusalCode.NO_HEALTHY_GREEN), NOW) is None
    assert hold_after(held, SwitchAnswer(epoch=Epoch(3)), NOW) is None


@pytest.mark.parametrize("code", list(RefusalCode))
@pytest.mark.parametrize("scaled", [False, True])
def test_only_too_few_healthy_greens_that_nobody_scaled_count_against_green(
    code: RefusalCode,
    *,
    scaled: bool,
) -> None:
    counts = is_greens_fault(refused(code, scaled=scaled))

    assert counts is (code is RefusalCode.NO_HEALTHY_GREEN and not scaled)


HELD = Hold(kind=HoldKind.FROZEN, since=before(minutes=1), why="deployment chat is frozen", ended_by=GATE_CHANGED)


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("on_deadline", list(OnDeadline))
def test_no_timer_that_is_due_decides_while_the_rollout_is_held(on_deadline: OnDeadline, *, gated: bool) -> None:
    policy = auto(promotion_deadline=timedelta(0), on_deadline=on_deadline)

    assert decision(AWAITING, policy=policy, gated=gated, hold=HELD) == Wait(timers=())


OTHER_HOLDS = [
    Hold(kind=kind, since=before(minutes=1), why="because")
    for kind in (HoldKind.KEEPER_SILENT, HoldKind.BLUE_CHANGED, HoldKind.NOT_BY_ITSELF, HoldKind.NO_ROOM)
]


@pytest.mark.parametrize("hold", OTHER_HOLDS, ids=lambda hold: str(hold.kind))
def test_a_deadline_that_aborts_passes_under_every_hold_but_a_freeze(hold: Hold) -> None:
    policy = auto(promotion_deadline=timedelta(minutes=5))

    waits = decision(AWAITING, policy=policy, hold=hold)
    ends = decision(AWAITING, policy=policy, hold=hold, waited_since=before(minutes=5))

    assert waits == Wait(timers=((DEADLINE_TIMER, NOW + timedelta(minutes=4)),))
    assert isinstance(ends, GoBack)
    assert ends.outcome is RolloutOutcome.EXPIRED
    assert ends.reason == "nobody promoted within 5m, and the switch was on hold: because"


@pytest.mark.parametrize("on_deadline", [OnDeadline.PROMOTE, OnDeadline.HOLD])
@pytest.mark.parametrize("hold", OTHER_HOLDS, ids=lambda hold: str(hold.kind))
def test_a_deadline_that_promotes_waits_for_the_end_of_a_hold(hold: Hold, on_deadline: OnDeadline) -> None:
    policy = auto(promotion_deadline=timedelta(0), on_deadline=on_deadline)

    assert decision(AWAITING, policy=policy, hold=hold) == Wait(timers=())


def test_no_deadline_passes_after_too_many_regressions() -> None:
    policy = auto(promotion_deadline=timedelta(0), max_regressions=1)

    decided = decision(AWAITING, policy=policy, regressions=2)

    assert decided == Wait(timers=())


def test_a_first_deployment_that_is_held_waits_for_no_promotion_and_does_not_expire() -> None:
    policy = auto(promotion_deadline=timedelta(0))

    assert decision(AWAITING, policy=policy, gated=False, blue_set=None, hold=OTHER_HOLDS[0]) == Wait(timers=())


TWO = ApprovalRule(count=2)


def test_a_green_that_regressed_while_it_was_approved_is_verified_anew_before_any_promotion() -> None:
    dipped = {"regressed_since_verified": True, "regressed_by_itself": True, "promotion": promotion()}

    assert isinstance(decision(AWAITING, policy=BlueGreenPolicy(approvals=TWO), **dipped), Enter)
    assert isinstance(decision(AWAITING, policy=BlueGreenPolicy(), **dipped), GoAhead)


def test_a_green_that_only_grew_while_it_was_approved_goes_ahead() -> None:
    grew = {"regressed_since_verified": True, "promotion": promotion()}

    assert isinstance(decision(AWAITING, policy=BlueGreenPolicy(approvals=TWO), **grew), GoAhead)


@pytest.mark.parametrize("until", [None, NOW + timedelta(hours=1)])
def test_a_pause_ends_in_time_while_there_is_no_room_for_green(until: datetime | None) -> None:
    pause = Pause(by="ann", door=Channel.API, reason="", since=before(minutes=1), until=until)
    no_room = Hold(kind=HoldKind.NO_ROOM, since=before(minutes=1), why="no room")

    decided = decision(RolloutPhase.PROVISIONING, green_set=None, green=None, hold=no_room, paused=pause)

    assert decided == Wait(timers=() if until is None else ((PAUSE_TIMER, until),))


MISSING = Hold(kind=HoldKind.APPROVALS, since=before(minutes=1), why="1 of 2 approved")


@pytest.mark.parametrize("on_deadline", list(OnDeadline))
def test_a_due_timer_that_lacks_approvals_waits_for_the_deadline_alone(on_deadline: OnDeadline) -> None:
    policy = auto(promotion_deadline=timedelta(days=1), on_deadline=on_deadline, approvals=ApprovalRule(count=2))

    decided = decision(AWAITING, policy=policy, hold=MISSING, waited_since=NOW)

    assert decided == Wait(timers=((DEADLINE_TIMER, NOW + timedelta(days=1)),))


@pytest.mark.parametrize(
    ("on_deadline", "ends"), [(OnDeadline.ABORT, True), (OnDeadline.PROMOTE, False), (OnDeadline.HOLD, False)]
)
def test_a_deadline_does_not_promote_what_lacks_approvals(on_deadline: OnDeadline, *, ends: bool) -> None:
    policy = auto(promotion_deadline=timedelta(0), on_deadline=on_deadline, approvals=ApprovalRule(count=2))

    decided = decision(AWAITING, policy=policy, hold=MISSING)

    assert isinstance(decided, GoBack) if ends else decided == Wait(timers=())


def test_a_timer_that_is_due_no_more_runs_although_approvals_were_missing() -> None:
    policy = auto(promote_after=timedelta(days=9), approvals=ApprovalRule(count=2))

    decided = decision(AWAITING, policy=policy, hold=MISSING)

    assert isinstance(decided, Wait)
    assert [name for name, _ in decided.timers] == [PROMOTION_TIMER]


def test_a_regression_ends_a_hold_by_approvals_and_no_other() -> None:
    assert hold_over_regression(MISSING) is None
    assert hold_over_regression(HELD) == HELD


def test_a_person_approves_a_rollout_that_is_held_by_approvals() -> None:
    policy = auto(approvals=ApprovalRule(count=2))

    assert isinstance(decision(AWAITING, policy=policy, hold=MISSING, promotion=promotion()), GoAhead)


def test_a_person_still_promotes_a_rollout_that_is_held() -> None:
    assert isinstance(decision(AWAITING, policy=auto(), hold=HELD, promotion=promotion()), GoAhead)


def test_a_green_that_regressed_is_verified_anew_although_the_rollout_is_held() -> None:
    assert isinstance(decision(AWAITING, hold=HELD, green=green(SetCondition.RUNNING, ready=2)), Enter)


# Ways back.


@pytest.mark.parametrize("phase", GATE)
def test_a_green_that_failed_ends_the_rollout_with_its_last_error(phase: RolloutPhase) -> None:
    failed = green(SetCondition.FAILED, last_error="exit code 1: no such model")

    decided = decision(phase, green=failed, promotion=promotion())

    assert decided == GoBack(
        outcome=RolloutOutcome.FAILED,
        by="keeper",
        door=Channel.KEEPER,
        reason="green failed: exit code 1: no such model",
    )


@pytest.mark.parametrize("phase", GATE)
def test_an_abort_closes_green_in_every_phase(phase: RolloutPhase) -> None:
    decided = decision(phase, abort=abort(by="bob", reason="wrong weights"))

    assert decided == GoBack(outcome=RolloutOutcome.ABORTED, by="bob", door=Channel.UPDATE, reason="wrong weights")


@pytest.mark.parametrize("condition", list(SetCondition))
@pytest.mark.parametrize("phase", GATE)
def test_an_abort_closes_green_whatever_its_health(phase: RolloutPhase, condition: SetCondition) -> None:
    decided = decision(phase, green=green(condition), abort=abort(by="bob"))

    assert isinstance(decided, GoBack)
    assert (decided.outcome, decided.by) == (RolloutOutcome.ABORTED, "bob")


def test_an_abort_without_a_reason_tells_who() -> None:
    decided = decision(AWAITING, abort=abort(by="bob"))

    assert isinstance(decided, GoBack)
    assert decided.reason == "aborted by bob"


# For any rollout.

_moments = st.integers(min_value=-86_400, max_value=0).map(lambda seconds: NOW + timedelta(seconds=seconds))
_policies = st.builds(
    BlueGreenPolicy,
    auto_promote=st.just(value=True),
    promote_after=st.sampled_from([timedelta(0), timedelta(minutes=5), timedelta(days=2)]),
    promote_at=st.sampled_from([None, NOW - timedelta(hours=1), NOW, NOW + timedelta(days=1)]),
    promotion_deadline=st.sampled_from([None, timedelta(0), timedelta(hours=1), timedelta(days=2)]),
    on_deadline=st.sampled_from(OnDeadline),
    max_regressions=st.integers(min_value=0, max_value=3),
) | st.builds(BlueGreenPolicy, promotion_deadline=st.sampled_from([None, timedelta(hours=1)]))
_rollouts = st.builds(
    rollout,
    st.sampled_from(GATE),
    policy=_policies,
    since=_moments,
    unverified_since=st.none() | _moments,
    gated=st.booleans(),
    green=st.none() | st.sampled_from(SetCondition).map(green),
    verified_since=st.none() | _moments,
    waited_since=st.none() | _moments,
    regressions=st.integers(min_value=0, max_value=5),
    hold=st.none() | st.sampled_from([HELD, HELD.model_copy(update={"kind": HoldKind.BLUE_CHANGED, "ended_by": ""})]),
    abort=st.none() | st.just(abort()),
    promotion=st.none() | st.just(promotion()) | st.just(promotion(force=True, reason="now")),
)


@given(_rollouts)
def test_every_rollout_before_the_switch_has_a_next_step(progress: Progress) -> None:
    assert isinstance(decide(progress, NOW), GoBack | GoAhead | Enter | Wait)


@given(_rollouts)
def test_a_rollout_never_goes_ahead_while_green_is_not_ready_unless_a_person_forced_it(progress: Progress) -> None:
    decided = decide(progress, NOW)

    assert not isinstance(decided, GoAhead) or progress.green_is_ready or decided.force


@given(_rollouts)
def test_a_rollout_that_is_held_goes_ahead_for_a_person_alone(progress: Progress) -> None:
    decided = decide(progress, NOW)

    if progress.hold is not None and isinstance(decided, GoAhead):
        assert progress.promotion is not None


@given(_rollouts)
def test_a_rollout_that_is_frozen_or_regressed_too_often_never_expires(progress: Progress) -> None:
    decided = decide(progress, NOW)

    if (progress.hold == HELD or progress.automation_suspended) and isinstance(decided, GoBack):
        assert decided.outcome is not RolloutOutcome.EXPIRED


@given(_rollouts)
def test_what_earlier_versions_decided_differs_in_the_deadline_alone(progress: Progress) -> None:
    decided, former = decide(progress, NOW), decide(progress, NOW, FORMER_GUARDS)

    if decided != former:
        assert isinstance(former, Wait)
        assert progress.hold is not None
        assert isinstance(decided, GoBack) or DEADLINE_TIMER in dict(getattr(decided, "timers", ()))


@given(_rollouts)
def test_force_is_only_a_persons(progress: Progress) -> None:
    decided = decide(progress, NOW)

    if isinstance(decided, GoAhead) and decided.force:
        assert progress.promotion is not None
        assert progress.promotion.command.force


@given(_rollouts)
def test_an_abort_always_wins(progress: Progress) -> None:
    decided = decide(progress.model_copy(update={"abort": abort()}), NOW)

    assert isinstance(decided, GoBack)
    assert decided.outcome is RolloutOutcome.ABORTED


@given(_rollouts)
def test_a_rollout_waits_only_for_moments_that_are_still_to_come(progress: Progress) -> None:
    decided = decide(progress, NOW)

    if isinstance(decided, Wait):
        assert all(at > NOW for _, at in decided.timers)


@given(_rollouts)
def test_another_phase_is_never_the_same_phase(progress: Progress) -> None:
    """Entering the present phase would turn in a circle without waiting."""
    decided = decide(progress, NOW)

    assert not isinstance(decided, Enter) or decided.phase is not progress.phase


@given(_rollouts, st.integers(min_value=1, max_value=86_400))
def test_while_it_waits_time_alone_changes_nothing_before_the_first_timer(progress: Progress, seconds: int) -> None:
    decided = decide(progress, NOW)

    if isinstance(decided, Wait):
        later = NOW + timedelta(seconds=seconds)
        if decided.first is None or later < decided.first[1]:
            assert decide(progress, later) == decided
