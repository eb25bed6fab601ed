"""Tokens as they come: how long a client waits for the next one while its deployment is switched."""

import asyncio
from collections.abc import Callable

import pytest

from tests.gateway.router import Router, until
from tests.traffic.deployment import Deployment

pytestmark = pytest.mark.parts

STREAMS = 4
SWITCHES = 6


async def test_tokens_come_one_by_one_while_others_are_switched(
    deployment: Deployment, router: Router, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """The longest gap is recorded as a figure: the machine has its part in it, so nothing is asserted of it."""
    loop, gaps = asyncio.get_running_loop(), [0.0]

    async def read() -> str:
        colours = set()
        async with router.open("/stream", deployment.name) as response:
            before = loop.time()
            async for chunk, _ in response.content.iter_chunks():
                gaps.append(loop.time() - before)
                before = loop.time()
                colours |= {line for line in chunk.decode().split("\n\n") if line}
        colours.remove("data: [DONE]")
        [colour] = colours
        return colour

    first = [asyncio.create_task(read()) for _ in range(STREAMS)]
    await until(lambda: deployment.blue.running == STREAMS)
    for _ in range(SWITCHES):
        seen = len(gaps)
        await deployment.switch()
        await deployment.switch_back()
        await until(lambda seen=seen: len(gaps) >= seen + STREAMS)
    deployment.blue.finish.set()
    assert await asyncio.gather(*first) == ["data: blue"] * STREAMS
    record_testsuite_property("longest_gap_ms", round(max(gaps) * 1000, 1))
    record_testsuite_property("tokens", len(gaps))
