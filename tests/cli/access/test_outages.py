"""An API that is away for a while, with a proxy before it or without one."""

import asyncio
import socket
from contextlib import aclosing
from datetime import timedelta
from http import HTTPStatus

import pytest
from aiohttp import web
from pydantic import SecretStr

from celadon.cli.access.calls import UnreachedError, calling
from celadon.cli.faults import OutageError
from celadon.cli.target import ApiTarget
from celadon.client.patience import NoAnswerError
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.service.principal import Principal
from tests.cli.access.answering import WHO, answering, problem

AWAY = [HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT]


def of_proxy(status: HTTPStatus) -> web.Response:
    """Return what nginx answers when nothing behind it does."""
    text = f"<html><head><title>{status} {status.phrase}</title></head><body>nginx</body></html>"
    return web.Response(status=status, text=text, content_type="text/html")


@pytest.mark.parametrize("status", AWAY)
async def test_a_change_is_repeated_with_the_same_id_behind_a_proxy(status: HTTPStatus) -> None:
    asked: list[str] = []

    async def away_at_first(request: web.Request) -> web.Response:
        asked.append(request.headers["idempotency-key"])
        return of_proxy(status) if len(asked) < 3 else web.json_response(WHO)

    async with answering(away_at_first) as calls:
        answer = await calls.change("POST", "/v1/x", Principal, request_id="r7")

    assert answer.name == "ann"
    assert asked == ["r7", "r7", "r7"]


@pytest.mark.parametrize("status", AWAY)
async def test_reading_goes_on_when_the_proxy_finds_the_api_again(status: HTTPStatus) -> None:
    asked: list[str] = []

    async def away_at_first(request: web.Request) -> web.Response:
        asked.append(request.path)
        return of_proxy(status) if len(asked) == 1 else web.json_response(WHO)

    async with answering(away_at_first) as calls:
        assert (await calls.get("/v1/whoami", Principal)).name == "ann"


async def test_a_change_is_repeated_while_the_api_has_no_table() -> None:
    asked: list[str] = []

    async def away_at_first(request: web.Request) -> web.Response:
        asked.append(request.headers["idempotency-key"])
        return (
            problem(503, "DATABASE_UNAVAILABLE", **{"retry-after": "1"}) if len(asked) == 1 else web.json_response(WHO)
        )

    async with answering(away_at_first) as calls:
        await calls.change("POST", "/v1/x", Principal, request_id="r7")

    assert asked == ["r7", "r7"]


async def test_a_change_whose_answer_was_cut_off_is_repeated_with_the_same_id() -> None:
    asked: list[str] = []

    async def cut_at_first(request: web.Request) -> web.Response:
        asked.append(request.headers["idempotency-key"])
        if len(asked) == 1:
            assert request.transport is not None
            request.transport.close()
        return web.json_response(WHO)

    async with answering(cut_at_first) as calls:
        await calls.change("POST", "/v1/x", Principal, request_id="r7")

    assert asked == ["r7", "r7"]


async def test_a_change_without_an_id_is_not_repeated() -> None:
    asked: list[str] = []

    async def away(request: web.Request) -> web.Response:
        asked.append(request.path)
        return of_proxy(HTTPStatus.BAD_GATEWAY)

    async with answering(away) as calls:
        with pytest.raises(NoAnswerError):
            await calls.change("PUT", "/v1/x", Principal)

    assert len(asked) == 1


async def test_an_outage_that_does_not_pass_is_told_as_one() -> None:
    async def away(_: web.Request) -> web.Response:
        return of_proxy(HTTPStatus.BAD_GATEWAY)

    async with answering(away, patience=timedelta(seconds=1)) as calls:
        with pytest.raises(NoAnswerError) as changed:
            await calls.change("POST", "/v1/x", Principal, request_id="r7")
        with pytest.raises(OutageError) as read:
            await calls.get("/v1/x", Principal)

    for told in (str(changed.value), str(read.value)):
        assert "a proxy for example, answered 502 Bad Gateway" in told
        assert "check the address" not in told


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nobody.invalid"])
async def test_an_address_at_which_nobody_has_answered_yet_is_told_soon(url: str) -> None:
    target = ApiTarget(url=url, token=SecretStr("t"), described="a test", when_away="look")
    # Where it is repeated as in any outage, this takes for ever.
    async with calling(target, timedelta(days=1)) as calls, asyncio.timeout(60):
        with pytest.raises(UnreachedError, match=r"does not answer at .*; look"):
            await calls.get("/v1/whoami", Principal)


async def test_an_api_that_is_just_being_restarted_is_waited_for_by_the_first_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    target = ApiTarget(url=f"http://127.0.0.1:{port}", token=SecretStr("t"), described="a test", when_away="look")

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(WHO)

    app = web.Application()
    app.router.add_post("/v1/x", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    try:
        async with calling(target, first_patience=timedelta(seconds=30)) as calls, asyncio.timeout(60):
            asking = asyncio.create_task(calls.change("POST", "/v1/x", Principal, request_id="r7"))
            told = ""
            while "api_away" not in told:
                await asyncio.sleep(0.05)
                assert not asking.done()
                told += capsys.readouterr().err
            assert "it is asked again for 30 s" in told
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            assert (await asking).name == "ann"
    finally:
        await runner.cleanup()


async def test_an_api_that_is_restarted_is_found_again() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(WHO)

    app = web.Application()
    app.router.add_get("/v1/whoami", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site.port
    target = ApiTarget(url=f"http://127.0.0.1:{port}", token=SecretStr("t"), described="a test", when_away="look")
    try:
        async with calling(target) as calls:
            await calls.get("/v1/whoami", Principal)
            await site.stop()
            await runner.cleanup()
            asking = asyncio.create_task(calls.get("/v1/whoami", Principal))
            await asyncio.sleep(0.2)
            assert not asking.done()
            runner = web.AppRunner(app, shutdown_timeout=0)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            assert (await asking).name == "ann"
    finally:
        await runner.cleanup()


async def test_a_stream_goes_on_when_the_proxy_finds_the_api_again() -> None:
    asked: list[str | None] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("last-event-id"))
        if len(asked) in {1, 3}:
            return of_proxy(HTTPStatus.BAD_GATEWAY)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"id: {len(asked)}\nevent: audit\ndata: {len(asked)}\n\n".encode())
        return response

    async with answering(stream) as calls, aclosing(calls.events("/v1/stream")) as events, asyncio.timeout(60):
        heard = [(await anext(events)).data for _ in range(2)]

    assert heard == ["2", "4"]
    assert asked == [None, None, "2", "2"]


async def test_what_the_api_itself_did_not_learn_in_time_is_not_asked_again() -> None:
    asked: list[str] = []

    async def silent(request: web.Request) -> web.Response:
        asked.append(request.path)
        return problem(504, RefusalCode.NO_ANSWER)

    async with answering(silent) as calls:
        with pytest.raises(NoAnswerError, match="because"):
            await calls.change("POST", "/v1/x", Principal, request_id="r7")

    assert len(asked) == 1


async def test_a_refusal_after_an_outage_is_a_refusal() -> None:
    asked: list[str] = []

    async def refuses(request: web.Request) -> web.Response:
        asked.append(request.path)
        return of_proxy(HTTPStatus.BAD_GATEWAY) if len(asked) == 1 else problem(409, RefusalCode.WRONG_REVISION)

    async with answering(refuses) as calls:
        with pytest.raises(RefusedError):
            await calls.change("POST", "/v1/x", Principal, request_id="r7")
