"""A health check that fails keeps its cause: the last answer and the last lines, once for all that have it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from celadon.domain.language.probe import HttpProbe
from celadon.domain.language.states import RolloutOutcome, RouteHealthStatus, RouteStatus, SetCondition
from celadon.domain.language.steps import FinishStep
from celadon.keeper.probes import Prober
from celadon.keeper.times import KeeperTimes
from celadon.provisioners.protocol import Address
from celadon.table.rollouts.finish import finish
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts
from tests.provisioners.programs import until

pytestmark = pytest.mark.usefixtures("keeper")

TOKEN = "hf_" + "abcdefgh" * 4

SICK_SERVER = f"""
import http.server, os, pathlib, sys
port = int(sys.argv[1])
print("replica begins", flush=True)
print("loads 3 of 7 shards with {TOKEN}", flush=True)
print("CUDA out of memory on GPU", port % 7, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = pathlib.Path(os.environ["ANSWER_FILE"]).read_bytes()
        self.send_response(503 if said else 200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def sick_revision(answer_file: Path) -> dict[str, object]:
    """Return a revision whose replicas answer 503 with what stands in a file, and are well when it is empty."""
    return {"command": (sys.executable, "-S", "-c", SICK_SERVER, "{port}"), "env": {"ANSWER_FILE": str(answer_file)}}


async def until_unhealthy(chat: Deploying, count: int) -> None:
    """Wait until so many replicas of green are unhealthy."""

    async def are() -> bool:
        return [one.health for one in await chat.routes()] == [RouteHealthStatus.UNHEALTHY] * count

    await until(are)


async def fail(chat: Deploying, reason: str) -> None:
    """Close green and end its rollout as its workflow does at a deadline."""
    await chat.close(chat.green)
    await chat.gone(chat.green)
    step = FinishStep(
        deployment=chat.name,
        rollout=chat.rollout,
        outcome=RolloutOutcome.FAILED,
        reason=reason,
        evidence={},
        at=datetime.now(UTC),
    )
    async with chat.table.transaction() as tx:
        await finish(tx, step)


CAUSE = 'GET /health: answered 503: {"status": "no memory"}: replica begins / loads 3 of 7 shards with [token] / CUDA'


async def test_a_green_that_never_is_healthy_ends_with_the_answer_and_the_last_lines_of_its_replicas_once(
    chat: Deploying,
    tmp_path: Path,
    rollouts: Rollouts,
) -> None:
    answer = tmp_path / "answer"
    answer.write_text('{"status": "no memory"}')
    await chat.open(sick_revision(answer), replicas=2)
    await until_unhealthy(chat, 2)
    row = await chat.set_row()
    assert row.last_error.startswith(CAUSE)
    assert row.last_error.endswith("(\u00d72)")
    assert rollouts.conditions(chat.name) == ["running"]

    await fail(chat, "green was not healthy within 5m")

    rollout = await chat.rollout_row()
    assert rollout.outcome_reason == f"green was not healthy within 5m: {row.last_error}"
    assert rollout.evidence["last_error"] == row.last_error
    [event] = await chat.events("completed")
    assert event.reason == rollout.outcome_reason
    ended = await chat.ended(2)
    assert {one.status for one in ended} == {RouteStatus.TERMINATED}
    assert {one.last_error for one in ended} == {'GET /health: answered 503: {"status": "no memory"}'}
    assert all("CUDA out of memory" in one.output and TOKEN not in one.output for one in ended)


@pytest.mark.parametrize("keeper_times", [KeeperTimes(told_again=timedelta(0))])
async def test_a_replica_that_fails_otherwise_than_before_tells_its_last_answer(
    chat: Deploying,
    tmp_path: Path,
) -> None:
    answer = tmp_path / "answer"
    answer.write_text("loading")
    await chat.open(sick_revision(answer))
    await until_unhealthy(chat, 1)
    epoch = await chat.epoch()
    answer.write_text(f"out of memory\n\x1b[31m {TOKEN}{'é' * 3_000}")

    async def is_told() -> bool:
        return "answered 503: out of memory" in (await chat.set_row()).last_error

    await until(is_told)
    [route] = await chat.routes()
    assert route.last_error.startswith("GET /health: answered 503: out of memory \\x1b[31m [token]é")
    assert len(route.last_error.encode()) <= 1_000
    assert "loading" not in (await chat.set_row()).last_error
    assert await chat.epoch() == epoch, "routers are told of health, not of words"


async def test_a_replica_that_recovers_takes_its_cause_along(chat: Deploying, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text("loading")
    await chat.open(sick_revision(answer))
    await until_unhealthy(chat, 1)
    answer.write_text("")

    await chat.healthy(1)

    row = await chat.set_row()
    assert (row.condition, row.last_error) == (SetCondition.READY, "")


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[Address]:
    """Serve ``/health`` until the block ends."""
    app = web.Application()
    app.router.add_get("/health", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Address("127.0.0.1", runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def probed(handler: Handler) -> str:
    """Return what a probe says of a server."""
    check = HttpProbe(path="/health", timeout=timedelta(seconds=30))
    async with answering(handler) as address, Prober() as prober:
        return (await prober.probe(address, check)).error


async def test_of_a_large_answer_the_begin_is_read() -> None:
    async def large(_: web.Request) -> web.Response:
        return web.Response(status=500, body=b"x" * 5_000_000)

    error = await probed(large)

    assert error.startswith("GET /health: answered 500: xxx")
    assert len(error) < 5_000


async def test_an_answer_whose_rest_never_comes_is_told_by_its_status() -> None:
    async def halting(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=503, headers={"Content-Length": "100"})
        await response.prepare(request)
        await asyncio.sleep(60)
        return response

    assert await probed(halting) == "GET /health: answered 503"


async def test_an_answer_that_is_compressed_is_told_by_its_status() -> None:
    async def compressed(_: web.Request) -> web.Response:
        return web.Response(status=503, body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})

    assert await probed(compressed) == "GET /health: answered 503"
