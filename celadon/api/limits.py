"""What keeps one caller from taking everything: rates, body sizes, and headers that browsers obey."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from celadon.api.problems import HttpRefusal, response_of

_REMEMBERED: Final = 10_000

_SLOWEST_BYTES_PER_SECOND: Final = 1024
"""After a moment of grace a body must have come at this rate at least."""

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


class _Body:
    """Reads a request's body as long as it is neither too large nor too slow."""

    def __init__(self, receive: Receive, most: int, longest_seconds: float, grace_seconds: float) -> None:
        self._grace = grace_seconds
        self._receive = receive
        self._most = most
        self._longest = longest_seconds
        self._received = 0
        self._begun_at: float | None = None
        self._whole = False

    async def receive(self) -> Message:
        """Return what comes next.

        Raises:
            HttpRefusal: the body is too large, or too slow.

        """
        if self._whole:
            return await self._receive()
        now = asyncio.get_running_loop().time()
        if self._begun_at is None:
            self._begun_at = now
        slowest = min(self._longest, self._grace + self._received / _SLOWEST_BYTES_PER_SECOND)
        try:
            async with asyncio.timeout_at(self._begun_at + slowest):
                message = await self._receive()
        except TimeoutError:
            raise HttpRefusal(
                HTTPStatus.REQUEST_TIMEOUT,
                "BODY_TOO_SLOW",
                "the body of the request did not come in time",
                "send it again, at once",
            ) from None
        self._received += len(message.get("body", b""))
        if self._received > self._most:
            raise too_large(self._most)
        self._whole = not message.get("more_body", False)
        return message


def too_large(most: int) -> HttpRefusal:
    """Return the refusal of a body of more than ``most`` bytes."""
    return HttpRefusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "BODY_TOO_LARGE",
        f"the body is larger than {most} bytes",
        "send less",
    )


class BodyLimit:
    """Refuses requests whose body is larger than it may be, also those that do not say how large it is, or too slow."""

    def __init__(self, app: ASGIApp, most: int, longest_seconds: float, grace_seconds: float) -> None:
        """Guard ``app``; ``most`` is in bytes, ``longest_seconds`` is for the whole body, the grace at any rate."""
        self._grace = grace_seconds
        self._app = app
        self._most = most
        self._longest = longest_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most:
            refused = too_large(self._most)
            await response_of(refused.problem, refused.headers)(scope, receive, send)
            return
        await self._app(scope, _Body(receive, self._most, self._longest, self._grace).receive, send)


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
