"""What a browser is shown while a part of Celadon is away: a page that asks again by itself, without any script."""

import json
from http import HTTPStatus
from typing import Final

from fastapi.responses import HTMLResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from celadon.api.console.rendering import render
from celadon.api.problems import MEDIA_TYPE

ASKS_AGAIN_SECONDS: Final = 3

_AWAY: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})


class OutagePages:
    """Shows browsers a page in place of the problem that programs are told, and lets what was only read be read again.

    What was sent, a decision for example, is never sent again by itself: it may have been carried out.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Guard ``app``."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self._app(scope, receive, send)
            return
        is_reading = scope["method"] == "GET"
        body = bytearray()
        start: Message | None = None

        async def show(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] in _AWAY:
                headers = MutableHeaders(scope=message)
                if is_reading:
                    headers["refresh"] = str(ASKS_AGAIN_SECONDS)
                if headers.get("content-type", "").startswith(MEDIA_TYPE):
                    start = message
                    return
            if start is None:
                await send(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                page = _page(start, json.loads(body).get("detail", ""), is_reading=is_reading)
                await page(scope, receive, send)

        await self._app(scope, receive, show)


def _page(start: Message, detail: str, *, is_reading: bool) -> HTMLResponse:
    headers = Headers(raw=start["headers"])
    next_step = (
        "This page looks again by itself."
        if is_reading
        else "It is not known whether what you sent was done: go back and look before you send it again."
    )
    return HTMLResponse(
        render("error", None, title="Away for a moment", text=detail, next_step=next_step, back="/"),
        status_code=start["status"],
        headers={name: headers[name] for name in ("refresh", "retry-after") if name in headers}
        | {
            "cache-control": "no-store",
            "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'",
        },
    )
