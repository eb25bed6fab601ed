"""A live stream that breaks is resumed where it broke, on a real network; and answers that never come."""

import asyncio
from contextlib import aclosing
from datetime import timedelta

import pytest
from aiohttp import web

from celadon.cli.faults import ApiError, CommandError
from celadon.client.patience import NoAnswerError
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.service.principal import Principal
from tests.cli.access.answering import WHO, answering, problem


async def test_a_stream_that_breaks_goes_on_after_its_last_event() -> None:
    asked: list[str | None] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("last-event-id"))
        if len(asked) == 2:
            return problem(503, "DATABASE_UNAVAILABLE")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        number = 7 if len(asked) == 1 else 8
        await response.write(f"id: {number}\nevent: audit\ndata: {number}\n\nevent: audit\ndata: cut".encode())
        return response

    async with answering(stream) as calls, aclosing(calls.events("/v1/stream")) as events:
        async with asyncio.timeout(20):
            heard = [(await anext(events)).data for _ in range(2)]

    assert heard == ["7", "8"]
    assert asked[:3] == [None, "7", "7"]


async def test_a_stream_that_lets_nobody_in_is_not_asked_again() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return problem(401, "UNAUTHENTICATED")

    async with answering(refuse) as calls, aclosing(calls.events("/v1/stream")) as events:
        with pytest.raises(ApiError, match="because"):
            await anext(events)


async def test_a_change_whose_answer_is_lost_may_have_been_done() -> None:
    async def drop(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async with answering(drop, patience=timedelta(0)) as calls:
        with pytest.raises(NoAnswerError, match="did not answer"):
            await calls.change("POST", "/v1/x", Principal, request_id="r")
        with pytest.raises(CommandError, match=r"did not answer: .*; look"):
            await calls.get("/v1/x", Principal)


async def test_an_answer_that_did_not_come_in_time_is_no_refusal() -> None:
    async def silent(_: web.Request) -> web.Response:
        return problem(504, RefusalCode.NO_ANSWER)

    async with answering(silent) as calls:
        with pytest.raises(NoAnswerError, match="because"):
            await calls.change("POST", "/v1/x", Principal)


async def test_a_refusal_keeps_code_reason_and_next_step() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return problem(409, RefusalCode.WRONG_REVISION)

    async with answering(refuse) as calls:
        with pytest.raises(RefusedError) as refused:
            await calls.change("POST", "/v1/x", Principal)

    refusal = refused.value.refusal
    assert (refusal.code, refusal.message, refusal.next_step) == (RefusalCode.WRONG_REVISION, "because", "do it")


async def test_whoever_reads_too_often_waits_as_it_is_told() -> None:
    asked: list[str] = []

    async def busy(request: web.Request) -> web.Response:
        asked.append(request.headers["x-celadon-door"])
        return problem(429, "RATE_LIMITED", **{"retry-after": "1"}) if len(asked) == 1 else web.json_response(WHO)

    async with answering(busy) as calls:
        who = await calls.get("/v1/whoami", Principal)

    assert (who.name, asked) == ("ann", ["cli", "cli"])


async def test_a_token_is_not_carried_elsewhere() -> None:
    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://localhost:1/v1/whoami")

    async with answering(elsewhere) as calls:
        with pytest.raises(CommandError, match="status 302"):
            await calls.get("/v1/whoami", Principal)
