"""When requests arrive: drawn ahead of time, so that a slow answer never delays the next request (an open loop)."""

import heapq
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

ANSWER_TOKENS: Final = (1, 2, 3)
"""How long plain answers are; with some longer than one token, requests are running whenever a switch commits."""

SPARE_STREAMS: Final = 0.25
"""The share of streams kept open beyond those asked for, because one may start a little late."""

RAMP: Final = timedelta(seconds=1)
"""The time over which the opening burst of streams starts."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to come: when, counted from the start of the load, and how many tokens it asks for."""

    at: timedelta
    tokens: int


def plain_arrivals(requests_per_second: float, seed: int) -> Iterator[Arrival]:
    """Yield Poisson arrivals without end; the same seed gives the same arrivals."""
    draw = random.Random(seed)
    at = 0.0
    while True:
        at += draw.expovariate(requests_per_second)
        yield Arrival(at=timedelta(seconds=at), tokens=draw.choice(ANSWER_TOKENS))


def stream_arrivals(open_streams: int, duration: timedelta, token_interval: timedelta) -> Iterator[Arrival]:
    """Yield stream arrivals without end, so that from ``RAMP`` on at least ``open_streams`` are open at any time.

    They come evenly, at the rate that keeps so many open in the long run; an opening burst stands in for those that
    would have come before. So every colour gets streams from the moment it is live.
    """
    if open_streams == 0:
        return
    tokens = tokens_for(duration, token_interval)
    kept_open = math.ceil(open_streams * (1 + SPARE_STREAMS))
    burst = (RAMP * (number / kept_open) for number in range(kept_open))
    even = (duration / kept_open * number for number in itertools.count(1))
    for at in heapq.merge(burst, even):
        yield Arrival(at=at, tokens=tokens)


def tokens_for(duration: timedelta, token_interval: timedelta) -> int:
    """Return how many tokens last ``duration`` or longer, the first coming at once."""
    return math.ceil(duration / token_interval) + 1
