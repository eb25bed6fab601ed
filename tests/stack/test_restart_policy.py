"""How long a dead child stays dead."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from celadon.stack.restart_policy import CRASH_LOOP_AFTER, FIRST_DELAY, LONGEST_DELAY, STEADY_AFTER, RestartHistory

AT_ONCE = timedelta(0)


def deaths(count: int) -> RestartHistory:
    history = RestartHistory()
    for _ in range(count):
        history = history.after_death(AT_ONCE)
    return history


def test_the_first_death_is_followed_by_a_quick_restart() -> None:
    assert deaths(1).delay == FIRST_DELAY


@given(st.integers(min_value=1, max_value=10_000))
def test_the_delay_never_shrinks_and_never_exceeds_the_longest(count: int) -> None:
    history = RestartHistory(count)
    assert history.delay <= history.after_death(AT_ONCE).delay <= LONGEST_DELAY


def test_a_steady_run_is_followed_by_a_quick_restart() -> None:
    assert deaths(4).after_death(STEADY_AFTER).delay == FIRST_DELAY


def test_deaths_one_after_the_other_are_a_crash_loop() -> None:
    assert not deaths(CRASH_LOOP_AFTER - 1).is_crash_loop
    assert deaths(CRASH_LOOP_AFTER).is_crash_loop


def test_a_steady_run_ends_a_crash_loop() -> None:
    assert not deaths(CRASH_LOOP_AFTER).after_death(STEADY_AFTER).is_crash_loop
