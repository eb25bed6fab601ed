"""What people are shown of lines of the audit log."""

from datetime import timedelta

import pytest

from celadon.service.views.events import errors_told, event_row, event_rows
from celadon.table.records.events import AuditEvent
from tests.service.views.records import event

CAUSE = "exited with code 1: CUDA out of memory (\N{MULTIPLICATION SIGN}2)"


def failed(number: int, output: str = "CUDA out of memory", **changes: object) -> AuditEvent:
    return event(
        "replica_failed", timedelta(0), id=number, reason="exited with code 1", evidence={"output": output}, **changes
    )


def test_what_replicas_printed_that_failed_alike_stands_once_beside_the_newest() -> None:
    ended = event("completed", timedelta(0), id=3, reason=f"green failed: {CAUSE}", evidence={"last_error": CAUSE})

    rows = event_rows([ended, failed(2), failed(1)])

    assert [row.text for row in rows] == [
        "completed: green failed: exited with code 1 (\N{MULTIPLICATION SIGN}2)",
        "replica failed: exited with code 1; output CUDA out of memory",
        "replica failed: exited with code 1",
    ]


def test_what_each_rollout_printed_stands_in_its_own_lines() -> None:
    rows = event_rows([failed(2, "of 8", rollout=8), failed(1, "of 7", rollout=7)])

    assert [row.detail for row in rows] == ["exited with code 1; output of 8", "exited with code 1; output of 7"]


def test_a_cause_whose_replicas_are_not_among_the_lines_stays_whole() -> None:
    ended = event("completed", timedelta(0), reason=f"green failed: {CAUSE}")

    (row,) = event_rows([ended])

    assert row.detail == f"green failed: {CAUSE}"


def test_errors_are_told_by_rollout() -> None:
    assert errors_told([failed(2, rollout=8), failed(1, rollout=7), failed(3, "", rollout=6)]) == {
        8: ["exited with code 1"],
        7: ["exited with code 1"],
    }


def test_output_that_was_cut_begins_with_a_whole_line() -> None:
    assert event_row(failed(1, "…rt of a line\nloading\nout of memory")).detail == (
        "exited with code 1; output loading / out of memory"
    )


def test_the_reason_of_a_phase_is_told_in_words() -> None:
    assert event_row(event("phase", timedelta(0), reason="awaiting_promotion")).text == "phase: awaiting promotion"


def test_moments_are_told_to_the_second_in_utc() -> None:
    evidence = {
        "waits_for": "a timer",
        "promotes_at": "2026-12-01T19:32:46.441557+02:00",
        "held_since": "2026-12-01T17:00:00Z",
    }

    detail = event_row(event("awaiting_promotion", timedelta(0), reason="", evidence=evidence)).detail

    assert detail == ("waits for a timer, promotes at 2026-12-01 17:32:46 UTC, held since 2026-12-01 17:00:00 UTC")


@pytest.mark.parametrize("typed", ["2026-12-01", "2026-99-99T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_what_a_person_typed_that_is_no_moment_stays_as_it_is(typed: str) -> None:
    written = event("labelled", timedelta(0), reason="", evidence={"until": typed})

    assert event_row(written).detail == f"until {typed}"
