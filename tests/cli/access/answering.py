"""An API whose answers a test chooses, and what calls it."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from aiohttp import web
from pydantic import SecretStr

from celadon.cli.access.calls import OUTAGE_PATIENCE, ApiCalls, calling
from celadon.cli.target import ApiTarget

Handler = Callable[[web.Request], object]

WHO = {"name": "ann", "roles": ["admin"], "scope": {}, "issuer": "token", "scheme": "token", "door": "cli"}


@asynccontextmanager
async def answering(handler: Handler, *, patience: timedelta = OUTAGE_PATIENCE) -> AsyncIterator[ApiCalls]:
    """Serve every request with ``handler``, and return what calls it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        target = ApiTarget(url=f"http://{host}:{port}", token=SecretStr("t"), described="a test", when_away="look")
        async with calling(target, patience) as calls:
            yield calls
    finally:
        await runner.cleanup()


def problem(status: int, code: str, **headers: str) -> web.Response:
    """Return an error as the API tells it."""
    body = {"type": "urn:x", "title": "x", "status": status, "detail": "because", "code": code, "next_step": "do it"}
    return web.Response(status=status, text=json.dumps(body), content_type="application/problem+json", headers=headers)
