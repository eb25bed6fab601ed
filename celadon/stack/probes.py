"""Questions that tell whether a child is ready."""

import asyncio

import aiohttp

from celadon.stack.ports import LOOPBACK
from celadon.stack.process import PROBE_TIMEOUT, NotReadyError, Probe


def listens_on(port: int) -> Probe:
    """Return a probe that is content when the child takes connections on ``port``."""

    async def probe() -> None:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError as error:
            raise NotReadyError(f"it does not listen on {LOOPBACK}:{port}") from error
        writer.close()

    return probe


def answers_ok(url: str) -> Probe:
    """Return a probe that is content when ``url`` answers with status 200."""

    async def probe() -> None:
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT.total_seconds())
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
                if answer.status != 200:  # noqa: PLR2004 - HTTP's own number
                    said = (await answer.text()).strip()[:200]
                    raise NotReadyError(f"{url} answers {answer.status} {said}")
        except aiohttp.ClientError as error:
            raise NotReadyError(f"{url} does not answer: {error}") from error

    return probe
