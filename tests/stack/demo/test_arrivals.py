"""When requests arrive."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.stack.demo.arrivals import RAMP, plain_arrivals, stream_arrivals, tokens_for

TOKEN_INTERVAL = timedelta(milliseconds=200)


@given(rate=st.floats(min_value=0.1, max_value=10_000), seed=st.integers())
def test_plain_arrivals_come_in_order_and_are_repeatable(rate: float, seed: int) -> None:
    first = list(itertools.islice(plain_arrivals(rate, seed), 50))
    assert first == list(itertools.islice(plain_arrivals(rate, seed), 50))
    assert all(earlier.at <= later.at for earlier, later in itertools.pairwise(first))
    assert all(arrival.tokens >= 1 for arrival in first)


@given(seed=st.integers(min_value=0, max_value=1000))
def test_plain_arrivals_keep_the_rate(seed: int) -> None:
    last = next(itertools.islice(plain_arrivals(200, seed), 20_000, None))
    assert last.at.total_seconds() == pytest.approx(100, rel=0.05)


@given(
    open_streams=st.integers(min_value=1, max_value=60),
    duration=st.floats(min_value=10, max_value=30),
    interval=st.floats(min_value=0.01, max_value=1),
    moment=st.floats(min_value=RAMP.total_seconds(), max_value=100),
)
def test_enough_streams_are_open_at_any_time(
    open_streams: int, duration: float, interval: float, moment: float
) -> None:
    token_interval = timedelta(seconds=interval)
    arrivals = stream_arrivals(open_streams, timedelta(seconds=duration), token_interval)
    at = timedelta(seconds=moment)
    begun = itertools.takewhile(lambda arrival: arrival.at <= at, arrivals)
    lasting = [arrival for arrival in begun if arrival.at + (arrival.tokens - 1) * token_interval >= at]
    assert len(lasting) >= open_streams


@given(
    open_streams=st.integers(min_value=1, max_value=60),
    duration=st.floats(min_value=10, max_value=30),
)
def test_every_stream_lasts_long_enough(open_streams: int, duration: float) -> None:
    asked = timedelta(seconds=duration)
    for arrival in itertools.islice(stream_arrivals(open_streams, asked, TOKEN_INTERVAL), 200):
        assert (arrival.tokens - 1) * TOKEN_INTERVAL >= asked


@given(open_streams=st.integers(min_value=1, max_value=60))
def test_stream_arrivals_come_in_order(open_streams: int) -> None:
    arrivals = itertools.islice(stream_arrivals(open_streams, timedelta(seconds=10.5), TOKEN_INTERVAL), 300)
    assert all(earlier.at <= later.at for earlier, later in itertools.pairwise(arrivals))


def test_streams_go_on_arriving_evenly_after_the_opening_burst() -> None:
    arrivals = itertools.islice(stream_arrivals(20, timedelta(seconds=10), TOKEN_INTERVAL), 200)
    later = [arrival.at for arrival in arrivals if arrival.at > RAMP]
    assert {after - before for before, after in itertools.pairwise(later)} == {timedelta(seconds=10) / 25}


def test_no_streams_when_none_are_asked_for() -> None:
    assert list(stream_arrivals(0, timedelta(seconds=10), TOKEN_INTERVAL)) == []


def test_tokens_for_counts_the_first_token_as_coming_at_once() -> None:
    assert tokens_for(timedelta(seconds=1), TOKEN_INTERVAL) == 6
