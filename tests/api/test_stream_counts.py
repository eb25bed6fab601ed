"""How many streams a caller may open, by how many are open."""

import pytest
from prometheus_client import CollectorRegistry

from celadon.api.metrics import ApiMetrics
from celadon.api.problems import HttpRefusal
from celadon.api.streams import Streams, may_open


@pytest.mark.parametrize(
    ("own", "of_all", "allowed"),
    [
        (0, 0, True),
        (3, 3, True),
        (4, 4, False),
        (1, 14, True),
        (1, 15, False),
        (0, 15, True),
        (0, 19, True),
        (0, 20, False),
        (3, 20, False),
    ],
)
def test_the_last_quarter_is_left_to_callers_without_a_stream(own: int, of_all: int, *, allowed: bool) -> None:
    assert may_open(own, of_all, most_per_caller=4, most=20) is allowed


def test_what_is_closed_makes_room() -> None:
    streams = Streams(4, 1, ApiMetrics(CollectorRegistry()))
    with streams.one_more("ann"), pytest.raises(HttpRefusal, match="of this caller"), streams.one_more("ann"):
        pass
    with streams.one_more("ann"):
        pass
