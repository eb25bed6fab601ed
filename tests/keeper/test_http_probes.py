"""What an HTTP probe sends, and what it makes of an answer, with a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from celadon.domain.decisions.probe_answer import MOST_BODY
from celadon.domain.language.expectation import Expectation
from celadon.domain.language.probe import HttpProbe
from celadon.keeper.probes import Prober
from celadon.provisioners.protocol import Address

PATIENT = timedelta(seconds=30)


@pytest_asyncio.fixture(loop_scope="session")
async def prober() -> AsyncIterator[Prober]:
    async with Prober() as made:
        yield made


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[Address]:
    app = web.Application(client_max_size=1024**2)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Address("127.0.0.1", runner.addresses[0][1])
    finally:
        await runner.cleanup()


def probe(**fields: Any) -> HttpProbe:
    return HttpProbe(**{"path": "/ask", "timeout": PATIENT, **fields})


def expecting(**content: Any) -> Expectation:
    return Expectation.model_validate_json(json.dumps(content))


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, ("GET", "", None)),
        ({"method": "HEAD"}, ("HEAD", "", None)),
        ({"method": "POST", "body": {"prompt": "é"}}, ("POST", '{"prompt": "\\u00e9"}', "application/json")),
        ({"method": "POST", "body": "a=b", "headers": {"Content-Type": "text/x"}}, ("POST", "a=b", "text/x")),
        ({"method": "POST", "body": [1], "headers": {"content-type": "text/x"}}, ("POST", "[1]", "text/x")),
    ],
)
async def test_method_headers_and_body_are_sent(
    prober: Prober, fields: dict[str, Any], sent: tuple[str, str, str | None]
) -> None:
    seen: list[tuple[str, str, str | None]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, await request.text(), request.headers.get("Content-Type")))
        return web.Response()

    async with serving(handler) as address:
        assert (await prober.probe(address, probe(**fields))).error == ""
    method, body, kind = sent
    [(had_method, had_body, had_kind)] = seen
    assert (had_method, had_body) == (method, body)
    assert kind is None or had_kind == kind


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"status": 418}, ""),
        ({}, "GET /ask: answered 418: {"),
        ({"status": "400-499", "json": {"model.ready": True}}, ""),
        ({"status": 418, "json": {"model.ready": False}}, "GET /ask: 'model.ready' of the answer is true, not false"),
        ({"status": 418, "regex": '"ready"'}, ""),
        ({"status": 418, "regex": "broken"}, "GET /ask: regex 'broken' matches nowhere in the answer"),
    ],
)
async def test_an_answer_is_what_is_expected_or_the_difference_is_told(
    prober: Prober, content: dict[str, Any], told: str
) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"model": {"ready": True}}, status=418)

    async with serving(handler) as address:
        error = (await prober.probe(address, probe(expect=expecting(**content)))).error
    assert error.startswith(told)
    assert bool(told) is bool(error)


async def test_of_an_answer_without_end_no_more_than_the_bound_is_read(prober: Prober) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    async with serving(endless) as address:
        error = (await prober.probe(address, probe(expect=expecting(regex="y")))).error
    assert error == f"GET /ask: regex 'y' matches nowhere in the first {MOST_BODY:,} bytes of the answer"


async def test_an_answer_whose_body_does_not_come_fails_within_the_timeout(prober: Prober) -> None:
    async def stalls(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.sleep(PATIENT.total_seconds())
        return response

    short = timedelta(milliseconds=300)
    async with serving(stalls) as address:
        error = (await prober.probe(address, probe(expect=expecting(json={"a": 1}), timeout=short))).error
    assert error == "GET /ask: no answer within 0.3s"


async def test_a_compressed_answer_is_not_looked_at(prober: Prober) -> None:
    async def compressed(_: web.Request) -> web.Response:
        return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})

    async with serving(compressed) as address:
        error = (await prober.probe(address, probe(expect=expecting(regex="a")))).error
    assert error == "GET /ask: the answer is encoded as gzip, so its body cannot be looked at"
