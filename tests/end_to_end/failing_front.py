"""A proxy before the API that finds it away now and then, as proxies do while an API is restarted."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from aiohttp import web

_SENT_ON = ("authorization", "content-type", "idempotency-key", "x-celadon-door", "last-event-id", "accept")


@dataclass
class FailingFront:
    """Loses the first answer to each request, and cuts each stream once."""

    api: str
    http: aiohttp.ClientSession
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    """How often each request came, by method and path."""
    ids: dict[str, set[str]] = field(default_factory=dict)
    """The ids under which each change came."""

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, or lose its answer."""
        what = f"{request.method} {request.path}"
        self.asked[what] += 1
        if request.method != "GET":
            self.ids.setdefault(what, set()).add(request.headers.get("idempotency-key", ""))
        headers = {name: request.headers[name] for name in _SENT_ON if name in request.headers}
        async with self.http.request(
            request.method,
            f"{self.api}{request.path_qs}",
            headers=headers,
            data=await request.read(),
        ) as answer:
            if request.path.endswith("/stream"):
                return await self._stream(request, answer, self.asked[what])
            body = await answer.read()
            if self.asked[what] == 1:
                return _away()
            return web.Response(status=answer.status, body=body, headers=_typed(answer))

    @staticmethod
    async def _stream(request: web.Request, answer: aiohttp.ClientResponse, time: int) -> web.StreamResponse:
        if time == 2:
            return _away()
        response = web.StreamResponse(status=answer.status, headers=_typed(answer))
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
            if time == 1 and b"event: deployment" in chunk:
                break
        return response


def _away() -> web.Response:
    return web.Response(
        status=HTTPStatus.BAD_GATEWAY,
        text="<html><body><h1>502 Bad Gateway</h1></body></html>",
        content_type="text/html",
    )


def _typed(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {"content-type": answer.headers.get("content-type", "")}


@asynccontextmanager
async def failing_front(api: str) -> AsyncIterator[FailingFront]:
    """Stand before the API at an address."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as http:
        front = FailingFront(api, http)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", front.pass_on)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            front.url = f"http://127.0.0.1:{site.port}"
            yield front
        finally:
            await runner.cleanup()
