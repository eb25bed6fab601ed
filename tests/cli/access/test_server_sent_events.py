"""Server-sent events are read whole, however the network cuts them."""

import itertools
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from celadon.cli.access.server_sent_events import ServerSentEvent, read_events

STREAM = (
    "retry: 2000\n: celadon, from line 3\n\n"
    "id: 4\nevent: audit\ndata: {}\n\n"
    ": alive\n\n"
    'event: deployment\ndata: {"name": "grün"}\n\n'
    "data: a\r\ndata: b\r\n\r\n"
    "event: audit\ndata: cut off"
).encode()
WHOLE = [
    ServerSentEvent(kind="audit", data="{}", identity="4"),
    ServerSentEvent(kind="deployment", data='{"name": "grün"}', identity=""),
    ServerSentEvent(kind="message", data="a\nb", identity=""),
]


async def _read(cuts: list[int]) -> list[ServerSentEvent]:
    async def chunks() -> AsyncIterator[bytes]:
        edges = [0, *sorted(cuts), len(STREAM)]
        for begin, end in itertools.pairwise(edges):
            yield STREAM[begin:end]

    return [event async for event in read_events(chunks())]


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM))))
async def test_events_are_whole_wherever_they_are_cut(cuts: list[int]) -> None:
    assert await _read(cuts) == WHOLE
