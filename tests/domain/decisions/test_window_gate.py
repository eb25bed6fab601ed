"""A timer that is due waits for its windows; what a rollout says of it."""

from datetime import timedelta
from typing import Any, Final

import pytest

from celadon.domain.decisions.gate import (
    DEADLINE_TIMER,
    DELAY_TIMER,
    PROMOTION_TIMER,
    GateDecision,
    GoAhead,
    GoBack,
    HoldTimer,
    LookUpWindows,
    Wait,
    decide,
    is_refused_by_windows,
    opening_after,
    window_hold_is_over,
)
from celadon.domain.decisions.narration import details, holding_reason, next_step
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.names import Epoch
from celadon.domain.language.opening import Opening, OpeningTimes, TimerOpening
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.progress import Hold, HoldKind, Progress
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import SwitchAnswer
from tests.domain.rollouts import NOW, abort, before, green, promotion, rollout

HOUR: Final = timedelta(hours=1)
DAY: Final = {"days": ["mon"], "from": "09:00", "to": "17:00", "zone": "Europe/Berlin"}
FOR_ALL: Final = DAY | {"applies_to": "everyone"}


def policy(*windows: dict[str, Any], **keys: Any) -> BlueGreenPolicy:
    return parse_payload(BlueGreenPolicy, {"auto_promote": True, "windows": list(windows) or [DAY]} | keys)


def opening(due: Any, opens: Any, closes: Any = None) -> TimerOpening:
    return TimerOpening(due=due, opens_at=opens, wakes_at=opens, closes_at=closes)


def waiting(verified: timedelta = timedelta(0), **fields: Any) -> Progress:
    """Return a rollout whose green was verified some time ago, and waits since then."""
    at = NOW - verified
    given = {"policy": policy(), "since": at, "verified_since": at, "waited_since": at}
    return rollout(RolloutPhase.AWAITING_PROMOTION, **given | fields)


def decision(progress: Progress) -> GateDecision:
    return decide(progress, NOW)


def hold(opens: Any, since: Any = NOW) -> Hold:
    why = "a timer is due and the windows of the policy are closed"
    return Hold(kind=HoldKind.WINDOW, since=since, why=why, until=opens)


@pytest.mark.parametrize(
    "known",
    [None, opening(NOW - HOUR, NOW - HOUR), opening(NOW, NOW - HOUR, NOW)],
    ids=["never looked up", "due at another moment", "passed"],
)
def test_the_windows_are_looked_up_for_the_moment_at_which_the_timer_is_due(known: TimerOpening | None) -> None:
    assert decision(waiting(opening=known)) == LookUpWindows(due=NOW)


def test_a_timer_that_is_due_in_an_opening_switches() -> None:
    decided = decision(waiting(opening=opening(NOW, NOW, NOW + HOUR)))

    assert isinstance(decided, GoAhead)
    assert decided.door is Channel.TIMER


def test_a_timer_that_is_due_before_its_opening_is_held_until_then() -> None:
    known = opening(NOW, NOW + HOUR)

    assert decision(waiting(opening=known)) == HoldTimer(hold=hold(NOW + HOUR))
    held = waiting(opening=known, hold=hold(NOW + HOUR))
    assert decision(held) == Wait(timers=((PROMOTION_TIMER, NOW + HOUR),))
    assert not window_hold_is_over(held, NOW)
    assert window_hold_is_over(held, NOW + HOUR)
    assert isinstance(decide(held.with_changes(hold=None), NOW + HOUR), GoAhead)


def test_a_timer_that_is_not_due_waits_for_its_delay_and_its_opening() -> None:
    due = NOW + HOUR
    known = opening(due, due + HOUR)

    decided = decision(waiting(policy=policy(promote_after="1h"), opening=known))

    assert decided == Wait(timers=((DELAY_TIMER, due), (PROMOTION_TIMER, due + HOUR)))


def test_a_timer_that_is_due_in_an_opening_to_come_waits_for_its_delay_alone() -> None:
    due = NOW + HOUR

    decided = decision(waiting(policy=policy(promote_after="1h"), opening=opening(due, NOW)))

    assert decided == Wait(timers=((PROMOTION_TIMER, due),))


def test_without_an_opening_in_sight_a_person_decides() -> None:
    known = TimerOpening(due=NOW, opens_at=None, wakes_at=None, closes_at=None)
    held = waiting(opening=known, hold=hold(None))

    assert decision(waiting(opening=known)) == HoldTimer(hold=hold(None))
    assert decision(held) == Wait(timers=())
    assert "until they open (no opening is in sight); a person can: celadon promote chat" in holding_reason(held, NOW)


def test_without_windows_nothing_is_looked_up() -> None:
    assert isinstance(decision(waiting(policy=parse_payload(BlueGreenPolicy, {"auto_promote": True}))), GoAhead)


@pytest.mark.parametrize(
    "fields", [{"policy": policy(auto_promote=False)}, {"gated": False}], ids=["no timer", "first"]
)
def test_where_no_timer_is_bound_nothing_is_looked_up(fields: dict[str, Any]) -> None:
    assert not isinstance(decision(waiting(**fields)), LookUpWindows)


@pytest.mark.parametrize("windows", [[DAY], [FOR_ALL]])
def test_a_persons_promotion_is_left_to_the_table(windows: list[dict[str, Any]]) -> None:
    held = waiting(policy=policy(*windows), opening=opening(NOW, NOW + HOUR), hold=hold(NOW + HOUR))

    assert isinstance(decision(held.with_changes(promotion=promotion())), GoAhead)


def test_an_abort_ends_the_wait_for_a_window() -> None:
    held = waiting(opening=opening(NOW, NOW + HOUR), hold=hold(NOW + HOUR), abort=abort())

    assert isinstance(decision(held), GoBack)


# Windows and the deadline.


def _at_deadline(**keys: Any) -> Progress:
    """Return a rollout whose deadline has come while its window is closed."""
    keys = {"promotion_deadline": "1h"} | keys
    return waiting(HOUR, policy=policy(**keys), opening=opening(NOW - HOUR, NOW + HOUR))


def test_an_opening_after_the_deadline_comes_too_late() -> None:
    decided = decision(_at_deadline())

    assert isinstance(decided, GoBack)
    assert (decided.outcome, decided.reason) == (
        RolloutOutcome.EXPIRED,
        "nobody promoted within 1h, and the windows were closed",
    )


def test_a_deadline_that_holds_ends_the_hold_by_the_windows_and_a_person_decides() -> None:
    held = _at_deadline(on_deadline="hold").with_changes(hold=hold(NOW + HOUR))

    assert window_hold_is_over(held, NOW)
    assert decision(held.with_changes(hold=None)) == Wait(timers=())


def test_a_deadline_that_promotes_goes_on_waiting_for_the_windows() -> None:
    progress = _at_deadline(on_deadline="promote")
    held = progress.with_changes(hold=hold(NOW + HOUR, before(hours=1)))

    assert decision(progress) == HoldTimer(hold=hold(NOW + HOUR, before(hours=1)))
    assert decision(held) == Wait(timers=((PROMOTION_TIMER, NOW + HOUR),))
    assert isinstance(decide(progress, NOW + HOUR), GoAhead)


def test_a_deadline_that_promotes_is_what_is_due_where_no_timer_is_before_it() -> None:
    keys = {"auto_promote": False, "promotion_deadline": "1h", "on_deadline": "promote"}
    deadline = NOW + HOUR
    progress = waiting(policy=policy(**keys))

    assert decision(progress) == LookUpWindows(due=deadline)
    known = progress.with_changes(opening=opening(deadline, deadline + HOUR))
    assert decision(known) == Wait(timers=((PROMOTION_TIMER, deadline + HOUR), (DEADLINE_TIMER, deadline)))
    assert isinstance(decide(known, deadline), HoldTimer)


def test_an_opening_before_the_deadline_is_in_time() -> None:
    keys = {"promotion_deadline": "3h"}
    progress = waiting(HOUR, policy=policy(**keys), opening=opening(NOW - HOUR, NOW))

    assert isinstance(decision(progress), GoAhead)


# What else ends the hold.


@pytest.mark.parametrize(
    ("changes", "is_over"),
    [
        ({}, False),
        ({"opening": None}, True),
        ({"verified_since": NOW}, True),
        ({"phase": RolloutPhase.VERIFYING}, True),
        ({"hold": Hold(kind=HoldKind.FROZEN, since=NOW, why="frozen")}, False),
        ({"hold": None}, False),
    ],
)
def test_the_hold_ends_with_what_it_waits_for(changes: dict[str, Any], is_over: object) -> None:
    held = waiting(HOUR, opening=opening(NOW - HOUR, NOW + HOUR), hold=hold(NOW + HOUR))

    assert window_hold_is_over(held.model_copy(update=changes), NOW) is is_over


def test_a_freeze_is_not_overwritten_by_a_window() -> None:
    frozen = Hold(kind=HoldKind.FROZEN, since=NOW, why="frozen")

    assert decision(waiting(hold=frozen)) == Wait(timers=())


def test_a_green_that_is_not_ready_is_verified_before_any_window_is_asked() -> None:
    assert not isinstance(decision(waiting(green=green(SetCondition.RUNNING))), LookUpWindows)


def test_the_tables_answer_is_when_the_timer_may_ask_again() -> None:
    times = OpeningTimes(at=NOW, timers=Opening(opens_at=NOW + HOUR, closes_at=None), people=None, binds_people=False)
    closed = SwitchAnswer(refusal=Refusal(code=RefusalCode.WINDOW_CLOSED, message="closed"), openings=times)
    progress = waiting(opening=opening(NOW, NOW))

    assert is_refused_by_windows(closed)
    assert not is_refused_by_windows(SwitchAnswer(epoch=Epoch(5)))
    assert opening_after(progress, closed.openings, NOW) == opening(NOW, NOW + HOUR)
    assert opening_after(progress, None, NOW) == progress.opening


# What people read.


def test_a_hold_says_until_when_and_what_a_person_can_do() -> None:
    held = waiting(opening=opening(NOW, NOW + HOUR), hold=hold(NOW + HOUR))

    assert holding_reason(held, NOW) == (
        "since 2026-03-01 12:00:00 UTC: a timer is due and the windows of the policy are closed; no timer promotes "
        "until they open at 2026-03-01 13:00:00 UTC; a person can: celadon promote chat"
    )
    assert next_step(held, NOW) == "wait for the opening, or promote: celadon promote chat · abort: celadon abort chat"


def test_a_hold_by_windows_for_everyone_says_that_it_takes_force() -> None:
    held = waiting(policy=policy(FOR_ALL), opening=opening(NOW, NOW + HOUR), hold=hold(NOW + HOUR))

    assert holding_reason(held, NOW).endswith("a person can: celadon promote chat --force --reason WHY")
    assert "celadon promote chat --force --reason WHY" in next_step(held, NOW)


def test_the_details_of_a_rollout_that_waits_name_its_windows() -> None:
    told = details(waiting(policy=policy(DAY, FOR_ALL)), NOW, (), ())

    assert "- window: mon 09:00 to 17:00 Europe/Berlin, for timers\n" in told
    assert "- window: mon 09:00 to 17:00 Europe/Berlin, for everyone\n" in told
