"""What the answers of probes make of a replica."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.health import HealthRecord, judge
from celadon.domain.language.health_check import HealthCheck
from celadon.domain.language.states import RouteHealthStatus

NOT_CHECKED, HEALTHY = RouteHealthStatus.NOT_CHECKED, RouteHealthStatus.HEALTHY
UNHEALTHY, DEGRADED = RouteHealthStatus.UNHEALTHY, RouteHealthStatus.DEGRADED


def after(answers: str, *, success_threshold: int = 1, failure_threshold: int = 3) -> RouteHealthStatus:
    """Return the health after probes that passed (``+``) and failed (``-``)."""
    check = HealthCheck(success_threshold=success_threshold, failure_threshold=failure_threshold)
    record = HealthRecord()
    for answer in answers:
        record = judge(record, check, passed=answer == "+")
    return record.status


@pytest.mark.parametrize(
    ("answers", "health"),
    [
        ("", NOT_CHECKED),
        ("+", HEALTHY),
        ("-", NOT_CHECKED),
        ("--", NOT_CHECKED),
        ("---", UNHEALTHY),
        ("--+", HEALTHY),
        ("+-", DEGRADED),
        ("+--", DEGRADED),
        ("+---", UNHEALTHY),
        ("+-----", UNHEALTHY),
        ("+--+", HEALTHY),
        ("+--+--", DEGRADED),
        ("+---+", HEALTHY),
        ("---+-", DEGRADED),
    ],
)
def test_health_with_the_default_thresholds(answers: str, health: RouteHealthStatus) -> None:
    assert after(answers) is health


@pytest.mark.parametrize(
    ("answers", "health"),
    [
        ("++", NOT_CHECKED),
        ("+++", HEALTHY),
        ("++-++", NOT_CHECKED),
        ("++-+++", HEALTHY),
        ("+++-", DEGRADED),
        ("+++-+", HEALTHY),
        ("+++---", UNHEALTHY),
        ("+++---++", UNHEALTHY),
        ("+++---+++", HEALTHY),
    ],
)
def test_an_unhealthy_replica_has_to_pass_as_often_as_a_new_one(answers: str, health: RouteHealthStatus) -> None:
    assert after(answers, success_threshold=3) is health


def test_with_a_failure_threshold_of_one_nothing_is_degraded() -> None:
    assert after("+-", failure_threshold=1) is UNHEALTHY


_answers = st.text(alphabet="+-", max_size=40)
_threshold = st.integers(min_value=1, max_value=5)


@given(_answers, _threshold, _threshold)
def test_as_many_failures_as_the_threshold_are_always_unhealthy(answers: str, successes: int, failures: int) -> None:
    ended = answers + "-" * failures

    assert after(ended, success_threshold=successes, failure_threshold=failures) is UNHEALTHY


@given(_answers, _threshold, _threshold)
def test_as_many_successes_as_the_threshold_are_always_healthy(answers: str, successes: int, failures: int) -> None:
    ended = answers + "+" * successes

    assert after(ended, success_threshold=successes, failure_threshold=failures) is HEALTHY


@given(_answers, _threshold, _threshold)
def test_only_a_replica_that_was_healthy_is_degraded(answers: str, successes: int, failures: int) -> None:
    seen = [
        after(answers[:end], success_threshold=successes, failure_threshold=failures) for end in range(len(answers) + 1)
    ]

    for before, now in pairwise(seen):
        if now is DEGRADED:
            assert before in {HEALTHY, DEGRADED}


@given(_answers)
def test_a_replica_that_was_checked_is_never_unchecked_again(answers: str) -> None:
    seen = [after(answers[:end]) for end in range(len(answers) + 1)]

    checked = next((index for index, health in enumerate(seen) if health is not NOT_CHECKED), len(seen))
    assert NOT_CHECKED not in seen[checked:]
