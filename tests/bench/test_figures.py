"""What many measurements come to."""

import pytest

from bench.figures import bound_of_none, percentile, spread


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)],
)
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


def test_the_spread_of_one_value_is_that_value() -> None:
    assert spread([3.0]) == {"median ms": 3.0, "p99 ms": 3.0, "largest ms": 3.0}


def test_none_bad_of_three_hundred_bounds_the_share_of_bad_ones_at_one_percent() -> None:
    assert 0.0099 < bound_of_none(300) < 0.01
    # So many trials of that share come out without a bad one in five of a hundred cases.
    assert (1 - bound_of_none(300)) ** 300 == pytest.approx(0.05)
