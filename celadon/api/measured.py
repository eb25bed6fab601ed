"""What is counted of every request, and what becomes of a bug."""

import time
from http import HTTPMethod, HTTPStatus
from typing import Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from celadon.api.metrics import ApiMetrics
from celadon.api.problems import HttpRefusal, response_of
from celadon.logs import trace_of

_METHODS: Final = frozenset(HTTPMethod)
_OTHER: Final = "other"
"""Clients may send any word as a method, and ask for any path; metrics have one label for all that are not ours."""

_NO_ROUTE: Final = "none"

log = structlog.get_logger()


class Measured:
    """Counts requests by route, method and status, and answers where the application has failed."""

    def __init__(self, app: ASGIApp) -> None:
        """Count the requests of ``app``."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except ClientDisconnect:
            # Nobody is there to be answered.
            status = status or HTTPStatus.BAD_REQUEST.value
        except Exception as error:  # noqa: BLE001 - a bug is logged whole, and the caller learns nothing of the inside
            # Without local variables, which may hold a caller's token.
            log.error("api_fault", path=scope["path"], trace=trace_of(error))  # noqa: TRY400
            if not status:
                await response_of(_fault().problem)(scope, receive, noted)
        route = getattr(scope.get("route"), "path", _NO_ROUTE)
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        metrics: ApiMetrics = scope["app"].state.parts.metrics
        metrics.requests.labels(method, route, str(status)).inc()
        if not route.endswith("/stream"):
            metrics.seconds.labels(route).observe(time.monotonic() - started)


def _fault() -> HttpRefusal:
    return HttpRefusal(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "INTERNAL",
        "an internal error; the API's log has it",
        "tell an operator",
    )
