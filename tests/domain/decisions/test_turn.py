"""How often what has waited is started until it has begun."""

from datetime import timedelta

import pytest

from celadon.domain.decisions.turn import next_attempt_after


@pytest.mark.parametrize(
    ("waited_ms", "next_ms"),
    [(0, 50), (50, 50), (1_999, 50), (2_000, 500), (8_000, 2_000), (20_000, 5_000), (3_600_000, 5_000)],
)
def test_attempts_come_quickly_at_first_and_seldom_later(waited_ms: int, next_ms: int) -> None:
    assert next_attempt_after(timedelta(milliseconds=waited_ms)) == timedelta(milliseconds=next_ms)
