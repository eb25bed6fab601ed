"""What becomes of a delivery."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from celadon.domain.decisions.delivery import (
    REFUSED_ATTEMPTS,
    Attempt,
    Judgement,
    RetrySchedule,
    Trouble,
    Verdict,
    judge,
    retry_pause,
)

SCHEDULE = RetrySchedule()
SECOND = timedelta(seconds=1)


def judged(attempt: Attempt, *, attempts: int = 1, age: timedelta = timedelta(0), jitter: float = 0.0) -> Judgement:
    return judge(attempt, attempts=attempts, age=age, schedule=SCHEDULE, jitter=jitter)


@pytest.mark.parametrize(
    ("attempt", "first", "fifth"),
    [
        (Attempt(status=200), Verdict.DELIVERED, Verdict.DELIVERED),
        (Attempt(status=202), Verdict.DELIVERED, Verdict.DELIVERED),
        (Attempt(status=204), Verdict.DELIVERED, Verdict.DELIVERED),
        (Attempt(status=301), Verdict.RETRY, Verdict.GIVE_UP),
        (Attempt(status=307), Verdict.RETRY, Verdict.GIVE_UP),
        (Attempt(status=400), Verdict.RETRY, Verdict.GIVE_UP),
        (Attempt(status=401), Verdict.RETRY, Verdict.GIVE_UP),
        (Attempt(status=404), Verdict.RETRY, Verdict.GIVE_UP),
        (Attempt(status=408), Verdict.RETRY, Verdict.RETRY),
        (Attempt(status=429), Verdict.RETRY, Verdict.RETRY),
        (Attempt(status=410), Verdict.DISABLE, Verdict.DISABLE),
        (Attempt(status=500), Verdict.RETRY, Verdict.RETRY),
        (Attempt(status=503), Verdict.RETRY, Verdict.RETRY),
        (Attempt(trouble=Trouble.NETWORK), Verdict.RETRY, Verdict.RETRY),
        (Attempt(trouble=Trouble.FORBIDDEN), Verdict.RETRY, Verdict.GIVE_UP),
        (Attempt(trouble=Trouble.REMOVED), Verdict.GIVE_UP, Verdict.GIVE_UP),
    ],
)
def test_an_attempt_ends_as(attempt: Attempt, first: Verdict, fifth: Verdict) -> None:
    assert judged(attempt).verdict is first
    assert judged(attempt, attempts=REFUSED_ATTEMPTS).verdict is fifth


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [retry_pause(attempts, SCHEDULE, 0.0).total_seconds() for attempts in (1, 2, 3, 11, 12, 13, 500)]

    assert pauses == [2, 4, 8, 2048, 3600, 3600, 3600]


@given(st.integers(min_value=1, max_value=10_000), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_jitter_takes_at_most_half_away(attempts: int, jitter: float) -> None:
    full = retry_pause(attempts, SCHEDULE, 0.0)

    assert full / 2 <= retry_pause(attempts, SCHEDULE, jitter) <= full


@pytest.mark.parametrize(
    ("asked", "pause"),
    [(None, 2 * SECOND), (SECOND, 2 * SECOND), (90 * SECOND, 90 * SECOND), (timedelta(days=2), timedelta(days=1))],
)
def test_a_target_that_asks_for_more_time_gets_it(asked: timedelta | None, pause: timedelta) -> None:
    assert judged(Attempt(status=429, retry_after=asked)).pause == pause


def test_trying_has_an_end() -> None:
    ended = judged(Attempt(status=503, error="busy"), attempts=80, age=timedelta(days=3))

    assert ended.verdict is Verdict.GIVE_UP
    assert ended.told == "answered 503: busy; given up after 80 attempts in 3d"


def test_a_pause_that_ends_after_the_end_is_not_waited_for() -> None:
    asked = Attempt(status=503, retry_after=timedelta(hours=23))

    assert judged(asked, age=timedelta(days=2, hours=2)).verdict is Verdict.GIVE_UP
    assert judged(asked, age=timedelta(days=2)).verdict is Verdict.RETRY


@pytest.mark.parametrize("wrong", [{"first": "0s"}, {"first": "2h"}, {"longest": "1s"}])
def test_a_schedule_that_does_not_ascend_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="not above the longest"):
        RetrySchedule(**wrong)
