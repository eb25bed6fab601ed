"""An OpenAI server that misbehaves in one way, chosen by a test."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto

from aiohttp import web

from celadon.stack.demo.model_server import REVISION_HEADER


class Fault(Enum):
    """How every answer is wrong."""

    ANSWERS_500 = auto()
    ANSWERS_NONSENSE = auto()
    CLOSES_BEFORE_ANSWER = auto()
    CLOSES_IN_ANSWER = auto()
    ENDS_STREAM_EARLY = auto()
    CLOSES_IN_STREAM = auto()
    FALLS_SILENT = auto()
    FALLS_SILENT_IN_STREAM = auto()


@asynccontextmanager
async def running_faulty_server(fault: Fault) -> AsyncIterator[int]:
    """Serve on a free loopback port, which is yielded."""
    released = asyncio.Event()

    async def complete(request: web.Request) -> web.StreamResponse:
        await request.read()
        return await _misbehave(request, fault, released)

    application = web.Application()
    application.add_routes([web.post("/v1/chat/completions", complete)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield site.port
    finally:
        released.set()
        await runner.cleanup()


async def _misbehave(request: web.Request, fault: Fault, released: asyncio.Event) -> web.StreamResponse:
    match fault:
        case Fault.ANSWERS_500:
            return web.json_response({"error": {"message": "out of memory"}}, status=500)
        case Fault.ANSWERS_NONSENSE:
            return web.json_response({"greeting": "hello"})
        case Fault.CLOSES_BEFORE_ANSWER:
            _close(request)
            return web.Response()
        case Fault.FALLS_SILENT:
            await released.wait()
            return web.Response()
        case Fault.CLOSES_IN_ANSWER:
            response = web.StreamResponse(headers={"content-length": "1000"})
            await response.prepare(request)
            await response.write(b"{")
            _close(request)
            return response
    response = web.StreamResponse(headers={"content-type": "text/event-stream", REVISION_HEADER: "r1"})
    await response.prepare(request)
    await response.write(f"data: {json.dumps({'choices': []})}\n\n".encode())
    if fault is Fault.CLOSES_IN_STREAM:
        _close(request)
    elif fault is Fault.FALLS_SILENT_IN_STREAM:
        await released.wait()
    return response


def _close(request: web.Request) -> None:
    """Close the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
