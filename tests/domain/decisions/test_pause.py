"""While a rollout is paused all its timers stand still; resumed, each runs on with what remained of it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from celadon.domain.decisions import after_switch
from celadon.domain.decisions.after_switch import Awaited, Circumstances
from celadon.domain.decisions.gate import (
    DEADLINE_TIMER,
    PROMOTION_TIMER,
    PROVISIONING_TIMER,
    Enter,
    GoAhead,
    GoBack,
    Wait,
    decide,
)
from celadon.domain.decisions.narration import holding_reason
from celadon.domain.decisions.pause import (
    PAUSE_TIMER,
    is_over,
    paused,
    refuse_past_end,
    refuse_pause,
    refuse_resume,
    resumed,
    runs_on_from,
    taken_up,
)
from celadon.domain.language.commands import BakeCommand, PauseCommand
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.names import Epoch
from celadon.domain.language.pause import Pause
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.progress import Progress
from celadon.domain.language.rollout_state import RolloutState, Stage
from celadon.domain.language.states import Channel, RolloutPhase, SetCondition
from tests.domain.rollouts import NOW, abort, before, green, promotion, rollout

AWAITING, VERIFYING = RolloutPhase.AWAITING_PROMOTION, RolloutPhase.VERIFYING
HOUR = timedelta(hours=1)
TIMED = BlueGreenPolicy(auto_promote=True, promote_after=HOUR, promotion_deadline=3 * HOUR)
PAUSED = Pause(by="ann", door=Channel.API, reason="latencies", since=before(minutes=30))
TIMERS_RUN = (RolloutPhase.PROVISIONING, VERIFYING, AWAITING, RolloutPhase.BAKING)


def baking(**fields: Any) -> RolloutState:
    return RolloutState(
        progress=rollout(RolloutPhase.BAKING, policy=BlueGreenPolicy(bake=HOUR), **fields),
        stage=Stage.BAKING,
        started_at=before(days=1),
        epoch=Epoch(5),
    )


@pytest.mark.parametrize("phase", RolloutPhase)
def test_a_rollout_can_be_paused_while_a_timer_of_it_runs(phase: RolloutPhase) -> None:
    refusal = refuse_pause(rollout(phase), PauseCommand())

    if phase in TIMERS_RUN:
        assert refusal is None
    else:
        assert refusal is not None
        assert refusal.code is RefusalCode.NOTHING_TO_PAUSE


@pytest.mark.parametrize("fields", [{"bake_is_over": True}, {"blue_set": None}], ids=["over", "nothing to bake for"])
def test_a_bake_that_does_not_run_cannot_be_paused(fields: dict[str, Any]) -> None:
    refusal = refuse_pause(rollout(RolloutPhase.BAKING, **fields), PauseCommand())

    assert refusal is not None
    assert refusal.code is RefusalCode.NOTHING_TO_PAUSE


def test_only_a_paused_rollout_can_be_resumed() -> None:
    refusal = refuse_resume(rollout(), BakeCommand())

    assert refusal is not None
    assert refusal.code is RefusalCode.NOT_PAUSED
    assert refuse_resume(rollout(paused=PAUSED), BakeCommand()) is None


def test_a_message_for_another_rollout_pauses_and_resumes_nothing() -> None:
    one, other = refuse_pause(rollout(), PauseCommand(rollout=8)), refuse_resume(rollout(), BakeCommand(rollout=8))

    assert one is not None
    assert other is not None
    assert one.code is other.code is RefusalCode.WRONG_ROLLOUT


def test_a_second_pause_changes_the_end_alone() -> None:
    first = paused(rollout(), PauseCommand(by="ann", reason="latencies"), Channel.API, before(minutes=5))

    second = paused(first, PauseCommand(by="ben", until=NOW + HOUR), Channel.CLI, NOW)

    assert first.paused is not None
    assert second.paused == first.paused.model_copy(update={"until": NOW + HOUR, "until_by": "ben"})


def test_a_second_pause_with_the_same_end_changes_nothing() -> None:
    first = paused(rollout(), PauseCommand(by="ann", until=NOW + HOUR), Channel.API, before(minutes=5))

    assert paused(first, PauseCommand(by="ben", until=NOW + HOUR), Channel.CLI, NOW) == first


def test_a_run_that_was_reset_takes_up_the_pause_that_lasts() -> None:
    assert taken_up(rollout(), PAUSED, NOW).paused == PAUSED


@pytest.mark.parametrize(
    ("progress", "pause"),
    [
        (rollout(), None),
        (rollout(), PAUSED.model_copy(update={"until": NOW})),
        (rollout(RolloutPhase.DRAINING), PAUSED),
        (rollout(paused=PAUSED.model_copy(update={"by": "ben"})), PAUSED),
    ],
    ids=["none", "over", "no timer runs", "known"],
)
def test_a_run_takes_up_no_other_pause(progress: Progress, pause: Pause | None) -> None:
    assert taken_up(progress, pause, NOW) == progress


@pytest.mark.parametrize("minutes", [-60, 0])
def test_a_pause_whose_end_has_passed_is_refused(minutes: int) -> None:
    refusal = refuse_past_end(rollout(), PauseCommand(until=NOW + timedelta(minutes=minutes)), NOW)

    assert refusal is not None
    assert refusal.code is RefusalCode.INVALID_PAYLOAD
    assert "has passed" in refusal.message


@pytest.mark.parametrize("until", [None, NOW + HOUR])
def test_a_pause_whose_end_is_to_come_is_not_refused(until: datetime | None) -> None:
    assert refuse_past_end(rollout(), PauseCommand(until=until), NOW) is None


def test_an_end_that_has_passed_once_the_pause_is_judged_is_the_present() -> None:
    first = paused(rollout(), PauseCommand(until=before(days=9)), Channel.API, NOW)
    second = paused(rollout(paused=PAUSED), PauseCommand(until=before(minutes=29)), Channel.API, NOW)

    assert (first.paused_until, second.paused_until) == (NOW, NOW)


# Before the switch.


def test_no_timer_that_is_due_decides_while_the_rollout_is_paused() -> None:
    policy = TIMED.model_copy(update={"promote_after": timedelta(0)})

    assert decide(rollout(policy=policy, paused=PAUSED), NOW) == Wait(timers=())


def test_a_first_deployment_waits_too_while_it_is_paused() -> None:
    assert decide(rollout(gated=False, paused=PAUSED), NOW) == Wait(timers=())


@pytest.mark.parametrize("phase", [RolloutPhase.PROVISIONING, VERIFYING])
def test_a_green_that_starts_has_no_deadline_while_the_rollout_is_paused(phase: RolloutPhase) -> None:
    progress = rollout(phase, green=None, since=before(days=1), unverified_since=before(days=1), paused=PAUSED)

    assert decide(progress, NOW) == Wait(timers=())


def test_a_paused_rollout_waits_for_the_end_that_the_pause_was_given() -> None:
    until = PAUSED.model_copy(update={"until": NOW + HOUR})

    assert decide(rollout(policy=TIMED, paused=until), NOW) == Wait(timers=((PAUSE_TIMER, NOW + HOUR),))


def test_a_person_promotes_a_paused_rollout() -> None:
    assert isinstance(decide(rollout(paused=PAUSED, promotion=promotion()), NOW), GoAhead)


def test_an_abort_ends_a_paused_rollout() -> None:
    assert isinstance(decide(rollout(paused=PAUSED, abort=abort()), NOW), GoBack)


def test_a_green_that_regresses_is_verified_anew_although_the_rollout_is_paused() -> None:
    assert isinstance(decide(rollout(paused=PAUSED, green=green(SetCondition.RUNNING)), NOW), Enter)


def test_what_remained_of_each_timer_remains_when_the_rollout_is_resumed() -> None:
    progress = rollout(policy=TIMED, verified_since=before(minutes=40), waited_since=before(minutes=90), paused=PAUSED)

    after = resumed(progress, NOW)

    assert after.paused is None
    assert decide(after, NOW) == Wait(
        timers=((PROMOTION_TIMER, NOW + timedelta(minutes=50)), (DEADLINE_TIMER, NOW + timedelta(minutes=120))),
    )


def test_a_green_that_was_verified_in_the_pause_has_its_whole_delay_left() -> None:
    progress = rollout(policy=TIMED, verified_since=before(minutes=10), waited_since=before(minutes=10), paused=PAUSED)

    decided = decide(resumed(progress, NOW), NOW)

    assert isinstance(decided, Wait)
    assert dict(decided.timers)[PROMOTION_TIMER] == NOW + HOUR


def test_the_deadline_of_a_green_that_starts_runs_on_with_what_remained() -> None:
    progress = rollout(VERIFYING, green=green(SetCondition.RUNNING), unverified_since=before(minutes=34), paused=PAUSED)

    decided = decide(resumed(progress, NOW), NOW)

    assert decided == Wait(timers=((PROVISIONING_TIMER, NOW + timedelta(minutes=6)),))


def test_a_moment_of_the_policy_does_not_move() -> None:
    policy = BlueGreenPolicy(auto_promote=True, promote_at=NOW + HOUR)

    decided = decide(resumed(rollout(policy=policy, paused=PAUSED), NOW), NOW)

    assert decided == Wait(timers=((PROMOTION_TIMER, NOW + HOUR),))


# In the bake.


def test_the_bake_does_not_end_while_the_rollout_is_paused() -> None:
    decided = after_switch.decide(baking(since=before(days=1), paused=PAUSED), Circumstances(), NOW)

    assert isinstance(decided, after_switch.Wait)
    assert (decided.awaits, decided.timer) == (Awaited.BAKE, None)


def test_a_person_finishes_a_bake_that_is_paused() -> None:
    decided = after_switch.decide(baking(paused=PAUSED, bake_is_over=True), Circumstances(), NOW)

    assert isinstance(decided, after_switch.Drain)


def test_an_abort_goes_back_in_a_bake_that_is_paused() -> None:
    decided = after_switch.decide(baking(paused=PAUSED, abort=abort()), Circumstances(), NOW)

    assert isinstance(decided, after_switch.SwitchBack)


def test_what_remained_of_the_bake_remains_when_the_rollout_is_resumed() -> None:
    state = baking(since=before(minutes=40), paused=PAUSED)
    state.progress = resumed(state.progress, NOW)

    decided = after_switch.decide(state, Circumstances(), NOW)

    assert isinstance(decided, after_switch.Wait)
    assert decided.timer is not None
    assert decided.timer[1] == NOW + timedelta(minutes=50)


def test_two_pauses_of_one_bake_add_up() -> None:
    first = resumed(rollout(RolloutPhase.BAKING, since=before(hours=2), paused=PAUSED), NOW)

    second = resumed(first.with_changes(paused=PAUSED.model_copy(update={"since": NOW})), NOW + HOUR)

    assert second.bake_stood_still == timedelta(minutes=90)


def test_a_bake_that_began_behind_the_end_of_the_pause_has_its_whole_time() -> None:
    ended = PAUSED.model_copy(update={"until": before(minutes=10)})

    assert runs_on_from(rollout(RolloutPhase.BAKING, since=before(minutes=1), paused=ended)) == before(minutes=1)


def test_the_timers_of_a_pause_without_an_end_run_on_from_no_moment() -> None:
    assert runs_on_from(rollout(paused=PAUSED)) is None
    assert runs_on_from(rollout()) is None


# What people read.


def test_a_paused_rollout_says_since_when_by_whom_why_and_what_ends_it() -> None:
    assert holding_reason(rollout(paused=PAUSED), NOW) == (
        "paused since 2026-03-01 11:30:00 UTC by ann (latencies): all timers stand still until it is resumed: "
        "celadon resume chat"
    )


def test_a_pause_with_an_end_says_when() -> None:
    until = PAUSED.model_copy(update={"until": NOW, "reason": ""})

    assert holding_reason(rollout(RolloutPhase.BAKING, paused=until), NOW) == (
        "paused since 2026-03-01 11:30:00 UTC by ann: all timers stand still until 2026-03-01 12:00:00 UTC, or "
        "celadon resume chat"
    )


@pytest.mark.parametrize(
    ("until", "told"),
    [
        (NOW, "until 2026-03-01 12:00:00 UTC (as ben has set it), or celadon resume chat"),
        (None, "until it is resumed (as ben has set it): celadon resume chat"),
    ],
)
def test_a_pause_says_who_has_changed_its_end(until: datetime | None, told: str) -> None:
    changed = PAUSED.model_copy(update={"until": until, "until_by": "ben"})

    sentence = holding_reason(rollout(paused=changed), NOW)

    assert sentence == f"paused since 2026-03-01 11:30:00 UTC by ann (latencies): all timers stand still {told}"


def test_an_end_that_was_given_in_another_zone_is_told_in_utc() -> None:
    command = parse_payload(PauseCommand, {"by": "ann", "until": "2026-03-02T06:00:00+01:00"})

    told = holding_reason(paused(rollout(), command, Channel.API, NOW), NOW)

    assert "until 2026-03-02 05:00:00 UTC" in told


# For any rollout.


@given(
    st.sampled_from([RolloutPhase.PROVISIONING, VERIFYING, AWAITING]),
    st.integers(0, 7200),
    st.integers(0, 7200),
    st.integers(0, 7200),
)
def test_a_pause_moves_every_timer_by_what_it_stood_still(
    phase: RolloutPhase, age: int, began: int, lasted: int
) -> None:
    start = before(seconds=age)
    progress = rollout(
        phase,
        policy=TIMED,
        green=green() if phase is AWAITING else None,
        since=start,
        unverified_since=start,
        verified_since=start,
        waited_since=start,
    )
    since = start + timedelta(seconds=began)
    until = since + timedelta(seconds=lasted)

    after = resumed(progress.with_changes(paused=PAUSED.model_copy(update={"since": since})), until)

    assert _timers(after) == {name: at + timedelta(seconds=lasted) for name, at in _timers(progress).items()}


def _timers(progress: Progress) -> dict[str, Any]:
    """Return when each timer fires, as was decided at the moment from which they count."""
    decided = decide(progress, progress.verified_since or NOW)
    assert isinstance(decided, Wait)
    return dict(decided.timers)


_MINUTES = st.integers(-600, 600)


@given(
    st.sampled_from(TIMERS_RUN),
    st.integers(0, 120),
    st.lists(st.tuples(st.integers(0, 300), st.none() | _MINUTES), min_size=1, max_size=4),
    st.integers(0, 300),
)
@example(RolloutPhase.BAKING, 1, [(10, 5)], 0)
def test_no_pause_makes_any_timer_earlier(
    phase: RolloutPhase, age: int, asked: list[tuple[int, int | None]], left: int
) -> None:
    """Whatever ends its pauses are given, and however late they are judged."""
    start = before(minutes=age)
    policy = TIMED.model_copy(update={"bake": HOUR})
    green_now = green() if phase is AWAITING else None
    progress = rollout(phase, policy=policy, green=green_now, since=start, unverified_since=start, verified_since=start)
    progress = progress.with_changes(waited_since=start)
    known, now = _all_timers(progress), NOW

    for minutes, until in asked:
        now += timedelta(minutes=minutes)
        progress = _ended_in_time(progress, now)
        end = None if until is None else NOW + timedelta(minutes=until)
        progress = paused(progress, PauseCommand(until=end), Channel.API, now)
    progress = _ended_in_time(progress, now + timedelta(minutes=left))
    progress = resumed(progress, now + timedelta(minutes=left))

    after = _all_timers(progress)
    assert all(after[name] >= at for name, at in known.items())


def _ended_in_time(progress: Progress, now: datetime) -> Progress:
    ends = runs_on_from(progress)
    return resumed(progress, ends) if ends is not None and is_over(progress.paused, now) else progress


def _all_timers(progress: Progress) -> dict[str, datetime]:
    if progress.phase is RolloutPhase.BAKING:
        return dict([after_switch.bake_timer(progress)])
    decided = decide(progress, before(days=1))
    assert isinstance(decided, Wait)
    return dict(decided.timers)


@pytest.mark.parametrize(("minutes", "over"), [(1, False), (0, True), (-1, True)])
def test_a_pause_is_over_at_its_end(minutes: int, *, over: bool) -> None:
    assert is_over(PAUSED.model_copy(update={"until": NOW + timedelta(minutes=minutes)}), NOW) is over


def test_a_pause_without_an_end_is_never_over() -> None:
    assert not is_over(PAUSED, NOW + timedelta(days=9))
