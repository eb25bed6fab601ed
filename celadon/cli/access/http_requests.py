"""Single HTTP requests by Python's own client, which loads in a tenth of the time that a whole client library takes.

Each request runs in a thread. One that is given up has its connection closed, so that its thread ends as well.
"""

import asyncio
import http.client
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from socket import SHUT_RDWR
from threading import Lock
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

_IDLE_SECONDS: Final = 2.0
"""A connection that was idle for longer is not used again: the other side may be about to close it."""


class NotConnectedError(Exception):
    """Nobody took the request; ``cause`` says why."""

    def __init__(self, cause: Exception) -> None:
        """Keep the cause."""
        super().__init__(str(cause))
        self.cause = cause


class AnswerBrokenError(Exception):
    """The request was taken, or may have been, and no whole answer came."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back."""

    status: int
    content: bytes
    headers: Mapping[str, str]
    """By names in lower case."""


class HttpRequests:
    """Requests to one server, with the same headers."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        connecting: timedelta,
        trust: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        """Send to ``url``; nothing is connected yet.

        Args:
            url: the server's address, perhaps with a path below which all requests go.
            headers: what every request has.
            connecting: how long a connection may take.
            trust: whose certificates count; by default those that the system trusts.
            proxy: the address of a proxy that leads to the server; for https alone.

        """
        self._url = urlsplit(url)
        self._headers = dict(headers)
        self._connecting = connecting
        self._trust = trust
        self._proxy = proxy
        self._idle: tuple[http.client.HTTPConnection, float] | None = None
        self._is_closed = False
        self._lock = Lock()
        """Held where a thread hands over its connection, which nobody else may lose or close meanwhile."""

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None,
        within: timedelta,
    ) -> HttpAnswer:
        """Send one request and return the whole answer; a redirection is an answer.

        Raises:
            NotConnectedError: nobody was there to take it.
            AnswerBrokenError: it may have been taken, and was not answered.
            TimeoutError: it was not answered in time.

        """
        request = _Request(method, self._url.path + path, {**self._headers, **headers}, content)
        try:
            async with asyncio.timeout(within.total_seconds()):
                return await asyncio.to_thread(self._exchange, request)
        except BaseException:
            with self._lock:
                request.give_up()
            raise

    def close(self) -> None:
        """Close the connection that waits for another request; one that is in use is closed after its answer."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, None
        if idle is not None:
            idle[0].close()

    def _exchange(self, request: "_Request") -> HttpAnswer:
        connection = self._take_idle()
        if connection is None:
            try:
                connection = self._connect()
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise NotConnectedError(error) from error
        try:
            answer = request.send_over(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError | http.client.HTTPException):
                raise AnswerBrokenError(str(error) or type(error).__name__) from error
            raise
        self._hand_over(connection, request)
        return answer

    def _hand_over(self, connection: http.client.HTTPConnection, request: "_Request") -> None:
        """Keep one connection for another request, and close every other."""
        with self._lock:
            is_usable = request.end() and not self._is_closed and self._idle is None
            if is_usable:
                self._idle = (connection, time.monotonic())
        if not is_usable:
            connection.close()

    def _take_idle(self) -> http.client.HTTPConnection | None:
        with self._lock:
            idle, self._idle = self._idle, None
        if idle is None:
            return None
        connection, since = idle
        if connection.sock is None or time.monotonic() - since > _IDLE_SECONDS:
            connection.close()
            return None
        return connection

    def _connect(self) -> http.client.HTTPConnection:
        connection = self._connection()
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        # From now on the whole request is bounded, by whoever waits for it.
        connection.sock.settimeout(None)
        return connection

    def _connection(self) -> http.client.HTTPConnection:
        host, port, seconds = self._url.hostname or "", self._url.port, self._connecting.total_seconds()
        if self._url.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=seconds)
        if self._proxy is None:
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=self._trust)
        proxy = urlsplit(self._proxy if "//" in self._proxy else f"//{self._proxy}")
        connection = http.client.HTTPSConnection(proxy.hostname or "", proxy.port, timeout=seconds, context=self._trust)
        connection.set_tunnel(host, port, _proxy_headers(proxy))
        return connection


class _Request:
    """One request, which can be given up while a thread waits for its answer."""

    def __init__(self, method: str, target: str, headers: Mapping[str, str], content: bytes | None) -> None:
        self._method = method
        self._target = target
        self._headers = headers
        self._content = content
        self._connection: http.client.HTTPConnection | None = None
        self._is_given_up = False

    def send_over(self, connection: http.client.HTTPConnection) -> HttpAnswer:
        """Send it and read the answer; in a thread of its own."""
        self._connection = connection
        if self._is_given_up:
            raise ConnectionAbortedError("nobody waits for it any more")
        connection.request(self._method, self._target, self._content, self._headers)
        response = connection.getresponse()
        content = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return HttpAnswer(response.status, content, headers)

    def end(self) -> bool:
        """Let go of the connection; tell whether it is as good as before."""
        self._connection = None
        return not self._is_given_up

    def give_up(self) -> None:
        """Close the connection under the thread."""
        self._is_given_up = True
        socket = None if self._connection is None else self._connection.sock
        if socket is not None:
            with suppress(OSError):
                socket.shutdown(SHUT_RDWR)


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"proxy-authorization": f"Basic {b64encode(words.encode()).decode()}"}
