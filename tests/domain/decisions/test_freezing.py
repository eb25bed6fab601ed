"""What a freeze does to a rollout that waits for its promotion: its timers, its deadline, what people read."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.freezing import (
    FREEZE_BEGINS,
    FREEZE_ENDS,
    freeze_told,
    holding_freeze,
    planned_freeze_told,
    told_of_freezes,
)
from celadon.domain.decisions.gate import DEADLINE_TIMER, PROMOTION_TIMER, GoAhead, GoBack, Wait, decide
from celadon.domain.decisions.narration import details, holding_reason, next_step
from celadon.domain.decisions.pause import paused, resumed
from celadon.domain.decisions.standing_still import KEPT_SPANS, end_of, merged, with_fewer
from celadon.domain.language.commands import PauseCommand
from celadon.domain.language.freeze import Freeze, FreezesRead
from celadon.domain.language.policy import BlueGreenPolicy, OnDeadline
from celadon.domain.language.progress import Hold, HoldKind, Progress, Still
from celadon.domain.language.states import Channel
from tests.domain.rollouts import NOW, promotion, rollout

HOUR = timedelta(hours=1)


def freeze(begins: timedelta = -HOUR, ends: timedelta | None = None, **changes: object) -> Freeze:
    made = Freeze(
        id=1,
        everywhere=False,
        begins_at=NOW + begins,
        ends_at=None if ends is None else NOW + ends,
        by="ann",
        reason="black friday",
    )
    return made.model_copy(update=changes)


def waiting(*freezes: Freeze, waited: timedelta = -2 * HOUR, **policy: object) -> Progress:
    """Return a rollout that has waited for two hours and is due, unless it has a longer delay."""
    return rollout(
        policy=BlueGreenPolicy.model_validate({"auto_promote": True, **policy}),
        verified_since=NOW + waited,
        waited_since=NOW + waited,
        freezes=freezes,
    )


def test_a_due_timer_promotes_nothing_while_a_freeze_holds() -> None:
    assert decide(waiting(freeze()), NOW) == Wait(timers=())


def test_a_freeze_with_an_end_wakes_the_rollout_then() -> None:
    assert decide(waiting(freeze(ends=HOUR)), NOW) == Wait(timers=((FREEZE_ENDS, NOW + HOUR),))


def test_the_due_timer_fires_when_the_freeze_ends() -> None:
    assert isinstance(decide(waiting(freeze(ends=HOUR)), NOW + HOUR), GoAhead)


def test_a_persons_promotion_is_asked_of_the_table_although_a_freeze_is_known() -> None:
    asked = waiting(freeze()).with_changes(promotion=promotion())

    assert isinstance(decide(asked, NOW), GoAhead)


@pytest.mark.parametrize(("rollbacks", "passes"), [(True, True), (False, False)])
def test_a_rollback_inside_its_window_passes_freezes_that_do_not_hold_rollbacks(rollbacks: bool, passes: bool) -> None:  # noqa: FBT001 - parameters
    back = waiting(freeze(rollbacks=rollbacks)).with_changes(gated=False)

    assert isinstance(decide(back, NOW), GoAhead) is passes
    assert (holding_reason(back, NOW) == "") is passes


def test_a_first_deployment_is_held_by_a_freeze() -> None:
    first = waiting(freeze()).with_changes(gated=False, blue_set=None)

    assert decide(first, NOW) == Wait(timers=())


def test_a_freeze_that_is_to_come_wakes_the_rollout_so_that_it_can_say_so() -> None:
    decision = decide(waiting(freeze(begins=HOUR), promote_after="1d"), NOW)

    assert isinstance(decision, Wait)
    assert decision.first == (FREEZE_BEGINS, NOW + HOUR)
    assert dict(decision.timers)[PROMOTION_TIMER] == NOW + timedelta(hours=22)


@pytest.mark.parametrize("what", list(OnDeadline))
def test_a_deadline_does_not_run_out_while_a_freeze_holds(what: OnDeadline) -> None:
    held = waiting(freeze(), auto_promote=False, promotion_deadline="3h", on_deadline=what)

    assert decide(held, NOW + timedelta(days=30)) == Wait(timers=())


def test_the_deadline_comes_later_by_what_the_freeze_lasted() -> None:
    """Of three hours one had run when the freeze began, so two remain when it ends."""
    held = waiting(freeze(ends=HOUR), auto_promote=False, promotion_deadline="3h")

    after = decide(held, NOW + HOUR)

    assert after == Wait(timers=((DEADLINE_TIMER, NOW + 3 * HOUR),))
    assert isinstance(decide(held, NOW + 3 * HOUR), GoBack)


def test_what_remained_counts_from_the_moments_of_the_table_and_not_from_when_it_was_heard() -> None:
    held = waiting(freeze(), auto_promote=False, promotion_deadline="3h")
    read = FreezesRead(at=NOW + 5 * HOUR, freezes=(freeze(ends=HOUR),))

    told = told_of_freezes(held, read, NOW + 5 * HOUR)

    assert told.freezes == ()
    assert isinstance(decide(told, NOW + 5 * HOUR), GoBack)
    assert decide(told, NOW + 2 * HOUR) == Wait(timers=((DEADLINE_TIMER, NOW + 3 * HOUR),))


def test_a_pause_within_a_freeze_counts_once() -> None:
    held = waiting(freeze(ends=3 * HOUR), auto_promote=False, promotion_deadline="3h")
    stopped = paused(held, PauseCommand(by="ben"), Channel.API, NOW + HOUR)

    goes_on = resumed(stopped, NOW + 2 * HOUR)

    assert decide(goes_on, NOW + 3 * HOUR) == Wait(timers=((DEADLINE_TIMER, NOW + 5 * HOUR),))


def test_a_switch_that_was_refused_for_a_freeze_is_asked_for_again_at_its_end() -> None:
    hold = Hold(kind=HoldKind.FROZEN, since=NOW, why="frozen", ended_by="gate_changed")
    held = waiting().with_changes(hold=hold)

    told = told_of_freezes(held, FreezesRead(at=NOW, freezes=(freeze(ends=HOUR),)), NOW)

    assert told.hold is not None
    assert told.hold.until == NOW + HOUR
    assert isinstance(decide(told, NOW + HOUR), GoAhead)


def test_a_rollout_whose_clock_is_ahead_of_the_tables_does_not_ask_in_a_loop() -> None:
    hold = Hold(kind=HoldKind.FROZEN, since=NOW, why="frozen", ended_by="gate_changed")
    ahead = NOW + timedelta(seconds=5)
    read = FreezesRead(at=NOW, freezes=(freeze(ends=timedelta(seconds=2)),))

    told = told_of_freezes(waiting().with_changes(hold=hold), read, ahead)

    decision = decide(told, ahead)
    assert isinstance(decision, Wait)
    assert decision.first is not None
    assert decision.first[1] == ahead + timedelta(seconds=1)


def test_a_refused_switch_is_asked_for_again_when_the_table_knows_no_freeze_any_more() -> None:
    hold = Hold(kind=HoldKind.FROZEN, since=NOW, why="frozen", ended_by="gate_changed")

    told = told_of_freezes(waiting().with_changes(hold=hold), FreezesRead(at=NOW), NOW)

    assert told.hold is None


def test_of_several_freezes_the_one_counts_that_ends_last() -> None:
    known = (freeze(ends=HOUR, id=1), freeze(id=2), freeze(ends=2 * HOUR, id=3))

    assert [one.id for one in known if one is holding_freeze(known, NOW)] == [2]
    assert holding_freeze(known[::2], NOW) == known[2]
    assert holding_freeze((), NOW) is None


def test_people_read_what_is_frozen_since_when_by_whom_why_until_when_and_who_can_end_it() -> None:
    assert holding_reason(waiting(freeze(ends=HOUR)), NOW) == (
        "frozen since 2026-03-01 11:00:00 UTC by ann (black friday): nothing is switched until 2026-03-01 13:00:00 "
        "UTC, or celadon unfreeze chat"
    )
    assert freeze_told(freeze(everywhere=True), "chat") == (
        "all deployments are frozen since 2026-03-01 11:00:00 UTC by ann (black friday): nothing is switched until "
        "somebody ends it: celadon unfreeze --all"
    )
    assert planned_freeze_told(freeze(HOUR, 2 * HOUR, reason="")) == (
        "a freeze is to come from 2026-03-01 13:00:00 UTC until 2026-03-01 14:00:00 UTC by ann"
    )


def test_details_and_next_step_tell_of_a_freeze() -> None:
    held = waiting(freeze(by="[x](y)"))

    assert "by `[x](y)` (`black friday`)" in details(held, NOW, (), ())
    assert next_step(held, NOW) == "wait for the end of the freeze, or abort: celadon abort chat"


def test_the_sentence_stands_once_when_the_switch_was_refused_too() -> None:
    hold = Hold(kind=HoldKind.FROZEN, since=NOW, why="frozen since long", ended_by="gate_changed")

    assert holding_reason(waiting(freeze()).with_changes(hold=hold), NOW).count("frozen since") == 1


# Spans in which a timer stands still.

_AT = datetime(2026, 3, 1, tzinfo=UTC)
_moments = st.integers(0, 60).map(lambda minutes: _AT + timedelta(minutes=minutes))


@st.composite
def _spans(draw: st.DrawFn) -> tuple[Still, ...]:
    pairs = draw(st.lists(st.tuples(_moments, _moments), max_size=8))
    return tuple(Still(since=min(pair), until=max(pair)) for pair in pairs)


def _end_by_minutes(start: datetime, lasts: timedelta, spans: tuple[Still, ...]) -> datetime:
    at, left = start, lasts
    while left:
        stands = any(span.since <= at and span.until is not None and at < span.until for span in spans)
        at, left = at + timedelta(minutes=1), left if stands else left - timedelta(minutes=1)
    return at


@given(start=_moments, minutes=st.integers(1, 90), spans=_spans())
def test_a_timer_ends_when_it_has_run_for_its_time(start: datetime, minutes: int, spans: tuple[Still, ...]) -> None:
    lasts = timedelta(minutes=minutes)

    assert end_of(start, lasts, spans) == _end_by_minutes(start, lasts, spans)


@given(start=_moments, minutes=st.integers(1, 90), spans=_spans())
def test_a_timer_of_which_fewer_spans_are_kept_ends_when_it_did(
    start: datetime, minutes: int, spans: tuple[Still, ...]
) -> None:
    lasts = timedelta(minutes=minutes)
    first, kept = with_fewer(start, spans)

    assert first == start
    assert end_of(start, lasts, kept) == end_of(start, lasts, spans)


def test_only_so_many_spans_are_kept_and_the_timer_ends_when_it_did() -> None:
    spans = tuple(Still(since=_AT + n * HOUR, until=_AT + n * HOUR + HOUR / 2) for n in range(KEPT_SPANS + 30))

    start, kept = with_fewer(_AT, spans)

    assert start is not None
    assert len(kept) == KEPT_SPANS
    for minutes in (10 * 60, 40 * 60, 400 * 60):
        lasts = timedelta(minutes=minutes)
        if _AT + lasts > start:
            assert end_of(start, lasts, kept) == end_of(_AT, lasts, spans)


def test_spans_that_touch_are_one_and_a_span_without_an_end_holds_for_ever() -> None:
    spans = (Still(since=_AT + HOUR, until=None), Still(since=_AT, until=_AT + HOUR))

    assert merged(spans) == (Still(since=_AT, until=None),)
    assert end_of(_AT, HOUR, spans) is None
