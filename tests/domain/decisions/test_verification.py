"""When a green set is started, and when it is verified."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.verification import set_condition
from celadon.domain.language.states import SetCondition

STARTING, RUNNING = SetCondition.STARTING, SetCondition.RUNNING
READY, FAILED = SetCondition.READY, SetCondition.FAILED


@pytest.mark.parametrize(
    ("running", "ready", "required", "wanted", "before", "condition"),
    [
        (0, 0, 3, 3, STARTING, STARTING),
        (2, 2, 2, 3, STARTING, STARTING),
        (3, 0, 3, 3, STARTING, RUNNING),
        (3, 2, 3, 3, STARTING, RUNNING),
        (3, 3, 3, 3, STARTING, READY),
        (3, 2, 2, 3, STARTING, READY),
        (3, 3, 3, 3, RUNNING, READY),
        (2, 2, 3, 3, READY, RUNNING),
        (2, 2, 2, 3, READY, READY),
        (0, 0, 3, 3, READY, RUNNING),
        (0, 0, 3, 3, RUNNING, RUNNING),
        (4, 4, 3, 3, STARTING, READY),
        (1, 1, 1, 1, STARTING, READY),
        (0, 0, 0, 0, STARTING, READY),
    ],
    ids=[
        "nothing runs",
        "enough are healthy, but it is not full",
        "full, nobody healthy",
        "full, too few healthy",
        "all healthy",
        "full, enough healthy",
        "the last became healthy",
        "regressed",
        "lost one that is not required",
        "lost all",
        "still regressed",
        "more than wanted",
        "a single replica",
        "no replicas wanted",
    ],
)
def test_condition(
    running: int,
    ready: int,
    required: int,
    wanted: int,
    before: SetCondition,
    condition: SetCondition,
) -> None:
    counts = {"running": running, "ready": ready, "required": required, "wanted": wanted}

    assert set_condition(**counts, failed=False, before=before) is condition


_counts = st.integers(min_value=0, max_value=10)


@given(_counts, _counts, _counts, _counts, st.sampled_from(SetCondition))
def test_a_set_that_failed_has_failed(
    running: int, ready: int, required: int, wanted: int, before: SetCondition
) -> None:
    counts = {"running": running, "ready": ready, "required": required, "wanted": wanted}

    assert set_condition(**counts, failed=True, before=before) is FAILED


@given(_counts, _counts, _counts, _counts, st.sampled_from(SetCondition))
def test_a_set_is_never_ready_with_too_few_healthy(
    running: int,
    ready: int,
    required: int,
    wanted: int,
    before: SetCondition,
) -> None:
    counts = {"running": running, "ready": ready, "required": required, "wanted": wanted}

    condition = set_condition(**counts, failed=False, before=before)

    assert condition is not READY or ready >= required


@given(_counts, _counts, _counts, _counts, st.sampled_from([RUNNING, READY]))
def test_a_set_that_was_full_never_starts_again(
    running: int,
    ready: int,
    required: int,
    wanted: int,
    before: SetCondition,
) -> None:
    counts = {"running": running, "ready": ready, "required": required, "wanted": wanted}

    assert set_condition(**counts, failed=False, before=before) in {RUNNING, READY}
