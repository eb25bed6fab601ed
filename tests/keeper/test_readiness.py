"""A replica counts as healthy when it can answer, not when its port is open."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from celadon.domain.language.states import RouteHealthStatus, RouteStatus, SetCondition
from celadon.table.core.engine import Table
from celadon.table.replicas.keeper_reads import read_managed_sets
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, Running, running_keeper
from tests.provisioners.programs import until

pytestmark = pytest.mark.parts

LOADING_SERVER = """
import http.server, os, pathlib, sys, time
directory = pathlib.Path(os.environ["DIRECTORY"])
def note(line):
    with (directory / "asked").open("a") as file:
        file.write(line + "\\n")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(500 if (directory / "sick").exists() else 200)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        note("begin " + body.decode())
        time.sleep(0.3)
        note("end")
        self.answer(200 if (directory / "loaded").exists() else 503)
    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *arguments):
        pass
print("ValueError: no such shard", "INFO bye", sep="\\n", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""Its health path answers 200 at once; a real request is answered once the file ``loaded`` is there."""

LOADING_GRPC_SERVER = """
import os, pathlib, socket, sys, time
from concurrent.futures import ThreadPoolExecutor
import grpc
port, loaded = int(sys.argv[1]), pathlib.Path(os.environ["DIRECTORY"]) / "loaded"
with socket.create_server(("127.0.0.1", port), backlog=1000):
    while not loaded.exists():
        time.sleep(0.05)
server = grpc.server(ThreadPoolExecutor(2))
check = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\\x08\\x01")
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})])
assert server.add_insecure_port(f"127.0.0.1:{port}") == port
server.start()
server.wait_for_termination()
"""
"""Its port accepts connections at once; nobody answers on it before the file ``loaded`` is there."""


@dataclass(frozen=True)
class Loading:
    """What the replicas of a test have been asked, and whether they can answer."""

    directory: Path

    def revision(self, **content: object) -> dict[str, object]:
        first = {"path": "/ask", "body": "one token", "timeout": "30s"}
        check = {"path": "/health", "interval": "100ms", "timeout": "30s", "failure_threshold": 2, "first": first}
        return {
            "command": (sys.executable, "-S", "-c", LOADING_SERVER, "{port}"),
            "env": {"DIRECTORY": str(self.directory)},
            "health_check": check,
            **content,
        }

    def end(self) -> None:
        """Let replicas answer."""
        (self.directory / "loaded").touch()

    @property
    def lines(self) -> list[str]:
        file = self.directory / "asked"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def asked(self) -> int:
        """How often a real request came."""
        return self.lines.count("begin one token")


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    return Loading(tmp_path)


async def test_a_health_path_that_answers_is_not_enough_before_a_real_request_is_answered(
    keeper: Running, chat: Deploying, loading: Loading
) -> None:
    await chat.open(loading.revision())
    await until(lambda: loading.asked >= 4)
    [route] = await chat.routes()
    assert (route.health, route.ready_at) == (RouteHealthStatus.UNHEALTHY, None)
    assert route.last_error == "first probe: POST /ask: answered 503"
    assert (await chat.set_row()).condition is not SetCondition.READY
    loading.end()
    await chat.healthy(1)
    del keeper


async def test_a_real_request_is_sent_by_itself_and_never_again_once_the_replica_was_healthy(
    keeper: Running, chat: Deploying, loading: Loading
) -> None:
    await chat.open(loading.revision())
    await until(lambda: loading.asked >= 2)
    loading.end()
    await chat.healthy(1)
    asked = loading.asked
    (loading.directory / "sick").touch()

    async def has_health(health: RouteHealthStatus) -> bool:
        return (await chat.routes())[0].health is health

    await until(lambda: has_health(RouteHealthStatus.UNHEALTHY))
    (loading.directory / "sick").unlink()
    await until(lambda: has_health(RouteHealthStatus.HEALTHY))
    passed = keeper.metric("celadon_keeper_probes_total", result="passed")
    await until(lambda: keeper.metric("celadon_keeper_probes_total", result="passed") >= passed + 5)
    assert loading.asked == asked
    assert loading.lines == ["begin one token", "end"] * asked


async def test_the_next_keeper_does_not_send_it_to_a_replica_that_was_healthy(
    table: Table, state_dir: Path, chat: Deploying, loading: Loading
) -> None:
    loading.end()
    async with running_keeper(table, state_dir, Rollouts()):
        await chat.open(loading.revision())
        [before] = await chat.healthy(1)
    assert loading.asked == 1
    async with running_keeper(table, state_dir, Rollouts()) as second:
        await until(lambda: second.metric("celadon_keeper_probes_total", result="passed") >= 3)
        [after] = await chat.healthy(1)
    assert after.id == before.id
    assert loading.asked == 1


async def test_a_replica_that_is_never_healthy_counts_as_failed_to_start_and_is_replaced(
    keeper: Running, chat: Deploying, rollouts: Rollouts, loading: Loading
) -> None:
    await chat.open(loading.revision(start_timeout="1s"), max_replacements=1)
    await until(lambda: rollouts.conditions(chat.name)[-1:] == ["failed"])
    routes = await chat.ended(2)
    told = "it was not healthy within 1s of its start: first probe: POST /ask: answered 503"
    assert {(route.status, route.last_error) for route in routes} == {(RouteStatus.FAILED_TO_START, told)}
    assert rollouts.heard[-1][2]["last_error"] == f"{told}: ValueError: no such shard (\u00d72)"
    del keeper


async def test_one_that_was_healthy_is_not_ended_however_long_it_is_sick(
    keeper: Running, chat: Deploying, loading: Loading
) -> None:
    loading.end()
    await chat.open(loading.revision(start_timeout="1s"), max_replacements=0)
    [route] = await chat.healthy(1)
    (loading.directory / "sick").touch()
    await asyncio.sleep(1)
    failed = keeper.metric("celadon_keeper_probes_total", result="failed")
    await until(lambda: keeper.metric("celadon_keeper_probes_total", result="failed") >= failed + 5)
    assert [one.id for one in await chat.routes()] == [route.id]


async def test_the_time_to_start_goes_on_while_no_keeper_runs(
    table: Table, state_dir: Path, chat: Deploying, loading: Loading
) -> None:
    async with running_keeper(table, state_dir, Rollouts()):
        await chat.open(loading.revision(start_timeout="1h"), max_replacements=0)
        await until(lambda: loading.asked >= 3)
        [route] = await chat.routes()
    async with table.transaction() as tx:
        await tx.execute(
            text("update routes set created_at = created_at - interval '1 hour' where id = :id"), {"id": route.id}
        )
    async with running_keeper(table, state_dir, Rollouts()):
        [ended] = await chat.ended(1)
    assert (ended.id, ended.status) == (route.id, RouteStatus.FAILED_TO_START)


@pytest.mark.parametrize(("content", "seconds"), [({}, 420), ({"start_timeout": "30s"}, 30)])
async def test_a_replica_has_as_long_as_the_rollout_unless_the_revision_says_otherwise(
    table: Table, chat: Deploying, loading: Loading, content: dict[str, object], seconds: int
) -> None:
    await chat.open(loading.revision(**content), provisioning_deadline="7m")
    async with table.transaction() as tx:
        [managed] = await read_managed_sets(tx, [chat.name])
    assert managed.start_timeout.total_seconds() == seconds


async def test_a_grpc_server_that_only_accepts_connections_is_not_healthy(
    keeper: Running, chat: Deploying, loading: Loading
) -> None:
    check = {"grpc": {}, "interval": "100ms", "timeout": "500ms", "failure_threshold": 2}
    command = (sys.executable, "-c", LOADING_GRPC_SERVER, "{port}")
    await chat.open(loading.revision(command=command, health_check=check))
    await until(lambda: keeper.metric("celadon_keeper_probes_total", result="failed") >= 4)
    [route] = await chat.routes()
    assert (route.status, route.ready_at) == (RouteStatus.RUNNING, None)
    loading.end()
    await chat.healthy(1)
