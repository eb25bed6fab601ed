"""Questions that tell whether a child is ready."""

import asyncio
from pathlib import Path

import aiohttp

from celadon.stack.process import PROBE_TIMEOUT, NotReadyError, Probe
from celadon.untimed import UNTIMED


def listens_on_socket(path: Path) -> Probe:
    """Return a probe that is content when the child takes connections on a Unix socket."""

    async def probe() -> None:
        try:
            _, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise NotReadyError(f"it does not listen on {path}") from error
        writer.close()

    return probe


def answers_ok(url: str, socket: Path | None = None) -> Probe:
    """Return a probe that is content when ``url`` answers with status 200, through a Unix socket if one is given."""

    async def probe() -> None:
        connector = None if socket is None else aiohttp.UnixConnector(str(socket))
        try:
            async with (
                asyncio.timeout(PROBE_TIMEOUT.total_seconds()),
                aiohttp.ClientSession(timeout=UNTIMED, connector=connector) as session,
                session.get(url) as answer,
            ):
                if answer.status != 200:  # noqa: PLR2004 - HTTP's own number
                    said = (await answer.text()).strip()[:200]
                    raise NotReadyError(f"{url} answers {answer.status} {said}")
        except aiohttp.ClientError as error:
            raise NotReadyError(f"{url} does not answer: {error}") from error

    return probe
