"""What replicas have failed with is told once, masked text made one line, and bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.failure_cause import (
    LONGEST_CAUSE,
    LONGEST_CAUSES,
    ReplicaFailure,
    are_alike,
    describe_failure,
    describe_failures,
    with_cause,
)


def failure(error: str, output: str = "") -> ReplicaFailure:
    return ReplicaFailure(error=error, output=output)


def test_a_cause_has_the_last_answer_and_the_last_three_lines() -> None:
    cause = describe_failure(failure("GET /health: answered 503: loading", "one\ntwo\n\n three \nfour\n"))

    assert cause == "GET /health: answered 503: loading: two / three / four"


def test_equal_causes_are_told_once_with_the_newest_words() -> None:
    failures = [failure("connect to 127.0.0.1:40001: connection refused", "no GPU 1")]
    failures += [failure(f"connect to 127.0.0.1:4000{port}: connection refused", "no GPU 2") for port in (2, 3, 4)]

    assert describe_failures(failures) == "connect to 127.0.0.1:40001: connection refused: no GPU 1 (\u00d74)"


def test_other_causes_are_told_beside_it() -> None:
    failures = [failure("exited with code 1", "OOM"), failure("answered 503"), failure("exited with code 2")]

    assert describe_failures(failures) == "exited with code 1: OOM (\u00d72); answered 503"


def test_no_failure_has_no_cause() -> None:
    assert describe_failures([]) == ""


def test_no_character_of_a_cause_is_obeyed() -> None:
    assert describe_failure(failure("a\x1b[31mb\n", "\x07c")) == "a\\x1b[31mb : \\x07c"


def test_causes_that_do_not_fit_are_counted() -> None:
    text = describe_failures(failure(letter * 900) for letter in "abcd")

    assert text.endswith("; and 1 other cause")
    assert len(text.encode()) <= LONGEST_CAUSES


@given(st.lists(st.builds(ReplicaFailure, error=st.text(max_size=1500), output=st.text(max_size=3000)), max_size=8))
def test_however_many_failed_the_text_stays_bounded(failures: list[ReplicaFailure]) -> None:
    assert len(describe_failures(failures).encode()) <= LONGEST_CAUSES
    assert all(len(describe_failure(one, 100).encode()) <= LONGEST_CAUSE for one in failures)


def test_errors_that_differ_in_numbers_alone_are_alike() -> None:
    assert are_alike("took 12 ms at 10:00:01", "took 9 ms at 10:00:11")
    assert not are_alike("answered 503: loading", "answered 503: out of memory")


@pytest.mark.parametrize(
    ("reason", "heard", "cause", "told"),
    [
        ("not healthy within 5m", "", "answered 503", "not healthy within 5m: answered 503"),
        ("not healthy; last error: refused", "refused", "answered 503", "not healthy; last error: answered 503"),
        ("green failed: answered 503", "answered 503", "answered 503", "green failed: answered 503"),
        ("terminated", "", "", "terminated"),
        ("", "", "answered 503", "answered 503"),
    ],
)
def test_the_reason_of_an_end_has_the_newest_cause_once(reason: str, heard: str, cause: str, told: str) -> None:
    assert with_cause(reason, heard, cause) == told
