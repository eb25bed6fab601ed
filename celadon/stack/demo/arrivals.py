"""When requests arrive: drawn ahead of time, so that a slow answer never delays the next request (an open loop)."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

ANSWER_TOKENS: Final = (1, 2, 3)
"""How long plain answers are; with some longer than one token, requests are running whenever a switch commits."""

SPARE_STREAMS: Final = 0.25
"""The share of streams kept open beyond those asked for, because one that follows another may start a little late."""

RAMP: Final = timedelta(seconds=1)
"""The time over which the first stream of each slot starts."""


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

    Streams follow each other in slots. The first of each slot lasts longer by its share of ``duration``, which spreads
    the later ones evenly; every stream lasts ``duration`` or longer.
    """
    if open_streams == 0:
        return
    slots = math.ceil(open_streams * (1 + SPARE_STREAMS))
    tokens = tokens_for(duration, token_interval)
    first_tokens = [tokens_for(duration * (1 + slot / slots), token_interval) for slot in range(slots)]
    starts = [RAMP * (slot / slots) for slot in range(slots)]
    for start, count in zip(starts, first_tokens, strict=True):
        yield Arrival(at=start, tokens=count)
    following = [start + (count - 1) * token_interval for start, count in zip(starts, first_tokens, strict=True)]
    while True:
        slot = following.index(min(following))
        yield Arrival(at=following[slot], tokens=tokens)
        following[slot] += (tokens - 1) * token_interval


def tokens_for(duration: timedelta, token_interval: timedelta) -> int:
    """Return how many tokens last ``duration`` or longer, the first coming at once."""
    return math.ceil(duration / token_interval) + 1
