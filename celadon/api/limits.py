"""What keeps one caller from taking everything: rates, body sizes, and headers that browsers obey."""

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REMEMBERED: Final = 10_000

SECURITY_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Set where an answer does not say otherwise, as pages of the console do."""


class Rate:
    """A bucket of permissions for each of many names; the one that was not used for longest is forgotten first."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Give each name ``burst`` permissions, and ``per_second`` more as time passes."""
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_for(self, name: str, *, take: bool = True) -> float:
        """Take a permission; return 0, or how many seconds there is none. With ``take=False`` only look."""
        now = self._clock()
        left, at = self._buckets.pop(name, (float(self._burst), now))
        left = min(float(self._burst), left + (now - at) * self._per_second)
        waits = 0.0 if left >= 1 else (1 - left) / self._per_second
        if take and not waits:
            left -= 1
        self._buckets[name] = (left, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return waits


class _BodyTooLargeError(Exception):
    """More came than may."""


class _CountedBody:
    """Counts what a request sends, and holds back what is answered to one that sends too much."""

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive = receive
        self._send = send
        self._most = most
        self._received = 0
        self.too_large = False
        self.answering = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > self._most:
            self.too_large = True
            raise _BodyTooLargeError
        return message

    async def send(self, message: Message) -> None:
        if self.too_large and not self.answering:
            return
        self.answering = True
        await self._send(message)


class BodyLimit:
    """Refuses requests whose body is larger than it may be, also those that do not say how large it is."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        """Guard ``app``; ``most`` is in bytes."""
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most:
            await self._refuse(send)
            return
        body = _CountedBody(receive, send, self._most)
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:
            if not body.too_large:
                raise
        if body.too_large and not body.answering:
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        body = json.dumps(
            {
                "type": "about:blank",
                "title": status.phrase,
                "status": status.value,
                "detail": f"the body is larger than {self._most} bytes",
                "code": "BODY_TOO_LARGE",
                "next_step": "send less",
            },
        ).encode()
        headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status.value, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class SecurityHeaders:
    """Adds the headers that keep browsers from doing more with an answer than showing it."""

    def __init__(self, app: ASGIApp) -> None:
        """Guard ``app``."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)
