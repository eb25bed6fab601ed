"""A stream that runs for as long as a test wants, so that what drains goes on draining."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from tests.end_to_end.conftest import LiveDeployment

QUESTION = {
    "model": "celadon-demo",
    "stream": True,
    "max_tokens": 4000,
    "messages": [{"role": "user", "content": "go"}],
}


@asynccontextmanager
async def held_stream(deployment: LiveDeployment) -> AsyncIterator[None]:
    """Have a stream run on what is live now until the block ends; its client then leaves, and nothing is cut."""
    url = f"{deployment.addresses.router}/{deployment.name}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=QUESTION) as stream:
        assert stream.status == 200
        await stream.content.readline()
        yield
        stream.close()
