"""The API's live streams, over a client library that only whoever follows something loads."""

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus

import aiohttp

from celadon.cli.access.http_requests import HttpAnswer
from celadon.cli.access.server_sent_events import ServerSentEvent, read_events


class StreamLostError(Exception):
    """A stream could not be opened, or broke; the text says why."""


@asynccontextmanager
async def open_stream(
    url: str,
    headers: Mapping[str, str],
    *,
    trust: ssl.SSLContext | None,
    proxy: str | None,
    connecting: timedelta,
    silence: timedelta,
) -> AsyncIterator[AsyncIterator[ServerSentEvent] | HttpAnswer]:
    """Open a stream and yield its events, or the answer that was given in its place.

    A connection may take as long as ``connecting``, and a stream that is silent for longer than ``silence`` is dead.

    Raises:
        StreamLostError: it could not be opened, or broke.

    """
    timeout = aiohttp.ClientTimeout(
        total=None,
        sock_connect=connecting.total_seconds(),
        sock_read=silence.total_seconds(),
    )
    connector = aiohttp.TCPConnector(ssl=True if trust is None else trust)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            http.get(
                url, headers={**headers, "accept": "text/event-stream"}, allow_redirects=False, proxy=proxy
            ) as response,
        ):
            if response.status == HTTPStatus.OK:
                yield read_events(response.content.iter_any())
            else:
                answer_headers = {name.lower(): value for name, value in response.headers.items()}
                yield HttpAnswer(response.status, await response.read(), answer_headers)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise StreamLostError(_reason(error)) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number) if number is not None and number > 0 else str(error.os_error)
    if isinstance(error, TimeoutError):
        return "nothing came in time"
    return str(error) or type(error).__name__
