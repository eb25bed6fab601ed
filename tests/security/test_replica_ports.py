"""Somebody else listens where a replica should: no request may ever be sent there."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from celadon.domain.language.states import RouteHealthStatus, RouteStatus
from celadon.provisioners.claims import ROUTE_VARIABLE
from celadon.provisioners.listeners import describe_user, listening_sockets
from celadon.provisioners.protocol import Address
from celadon.table.core.engine import Table
from celadon.table.core.models import Route
from tests.keeper.conftest import chat, state_dir  # noqa: F401 - fixtures
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, Running, running_keeper
from tests.provisioners.programs import server, until, until_found
from tests.security.other_user import OtherUser

pytestmark = pytest.mark.parts

WAITS_THEN_SERVES = """
import http.server, os, socket, sys, time
port, gate = int(sys.argv[1]), sys.argv[2]
while not os.path.exists(gate):
    time.sleep(0.02)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists(os.environ.get("READY_FILE", "/")) else 500)
        self.end_headers()
    def log_message(self, *arguments):
        pass
class Shared(http.server.ThreadingHTTPServer):
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        http.server.ThreadingHTTPServer.server_bind(self)
while True:
    try:
        Shared(("127.0.0.1", port), Handler).serve_forever()
    except OSError:
        time.sleep(0.1)
"""
"""A replica that shares its port, and waits when it cannot have it, as servers with several workers do."""

THIEF = """
import http.server, os, socket, socketserver, sys
host, port, listening = sys.argv[1], int(sys.argv[2]), sys.argv[3]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists(os.environ.get("READY_FILE", "/")) else 500)
        self.end_headers()
    def log_message(self, *arguments):
        pass
class Shared(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        socketserver.ThreadingTCPServer.server_bind(self)
server = Shared((host, port), Handler)
open(listening, "w").close()
server.serve_forever()
"""

PERL_THIEF = """
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $ARGV[0], Listen => 9, ReusePort => 1) or die;
while (my $c = $s->accept) { print $c "HTTP/1.0 200 OK\\r\\n\\r\\n"; close $c }
"""

PARENT_OF_A_SERVER = """
import os, subprocess, sys, time
environment = {name: value for name, value in os.environ.items() if name != "CELADON_ROUTE"}
subprocess.Popen([sys.executable, *sys.argv[1:]], start_new_session=True, env=environment)
time.sleep(600)
"""
"""Leaves serving to a child in a session of its own that does not bear the route's mark."""

FORGETFUL_PARENT = """
import subprocess, sys, time
subprocess.run(["/bin/sh", "-c", '"$@" & exit 0', "sh", sys.executable, *sys.argv[1:]], start_new_session=True)
time.sleep(600)
"""
"""Leaves serving to a process whose parent has ended, in another session, that still bears the route's mark."""

SERVES_UNTIL_TOLD = """
import http.server, os, sys, threading, time
port, closing = int(sys.argv[1]), sys.argv[2]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
threading.Thread(target=server.serve_forever).start()
while not os.path.exists(closing):
    time.sleep(0.02)
server.shutdown()
server.server_close()
open(closing + ".done", "w").close()
time.sleep(600)
"""
"""A replica that goes on running when it no longer listens."""


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def keeper(table: Table, state_dir: Path) -> AsyncIterator[Running]:  # noqa: F811
    async with running_keeper(table, state_dir, Rollouts()) as running:
        yield running


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Return a file without which a replica does not listen."""
    return tmp_path / "gate"


@pytest.fixture
def thieves() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for one in started:
        one.kill()
        one.wait()


def waiting(gate: Path) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", WAITS_THEN_SERVES, "{port}", str(gate))


async def starting(chat: Deploying) -> Route:  # noqa: F811
    """Wait for the replica whose process runs and does not listen."""

    async def found() -> Route | None:
        routes = await chat.routes()
        return routes[0] if routes and routes[0].status is RouteStatus.RUNNING else None

    return await until_found(found)


async def bound(listening: Path, thief: subprocess.Popen[str] | None = None) -> None:
    """Wait until a thief listens."""

    def is_there() -> bool:
        assert thief is None or thief.poll() is None, thief.communicate()
        return listening.exists()

    await until(is_there)


def steal(port: int, listening: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Bind a replica's port as the same user, by a process that is none of the replica's."""
    command = [sys.executable, "-S", "-c", THIEF, "127.0.0.1", str(port), str(listening)]
    return subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)


async def assert_turned_away(chat: Deploying, victim: Route, uid: int) -> None:  # noqa: F811
    [ended] = await chat.ended(1)
    assert ended.id == victim.id
    assert ended.ready_at is None, "it never counted as healthy"
    assert "another program" in ended.last_error
    assert f"of {describe_user(uid)}," in ended.last_error
    assert (await chat.set_row()).replacements == 0, "the revision is not to blame"
    [event] = await chat.events("port_taken")
    assert event.evidence["route"] == victim.id
    assert "another program" in event.reason


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"])  # noqa: S104
async def test_another_user_who_binds_first_gets_nothing(
    chat: Deploying,  # noqa: F811
    gate: Path,
    other_user: OtherUser,
    host: str,
) -> None:
    await chat.open({"command": waiting(gate)})
    victim = await starting(chat)
    listening = other_user.directory / "listening"
    await bound(listening, other_user.start_python(THIEF, host, str(victim.port), listening))
    await assert_turned_away(chat, victim, other_user.uid)


async def test_another_user_who_bears_the_routes_mark_gets_nothing(
    chat: Deploying,  # noqa: F811
    gate: Path,
    other_user: OtherUser,
) -> None:
    await chat.open({"command": waiting(gate)})
    victim = await starting(chat)
    # Where the tests' interpreter lies another user may not start it anew, and a mark is there from the start or never.
    mark = f"{ROUTE_VARIABLE}={victim.id}"
    other_user.start(["env", mark, "perl", "-MIO::Socket::INET", "-e", PERL_THIEF, str(victim.port)])
    await assert_turned_away(chat, victim, other_user.uid)


async def test_a_process_of_the_same_user_that_binds_first_gets_nothing(
    chat: Deploying,  # noqa: F811
    gate: Path,
    tmp_path: Path,
    thieves: list[subprocess.Popen[bytes]],
) -> None:
    await chat.open({"command": waiting(gate)})
    victim = await starting(chat)
    thieves.append(steal(victim.port, tmp_path / "listening"))
    await bound(tmp_path / "listening")
    await assert_turned_away(chat, victim, os.getuid())


async def test_a_replica_that_shares_its_port_with_another_program_gets_nothing(
    chat: Deploying,  # noqa: F811
    gate: Path,
    tmp_path: Path,
    thieves: list[subprocess.Popen[bytes]],
) -> None:
    # Both answer 500 until both listen, so that the replica was never seen to be healthy alone.
    ready = tmp_path / "ready"
    await chat.open({"command": waiting(gate), "env": {"READY_FILE": str(ready)}})
    victim = await starting(chat)
    gate.touch()  # noqa: ASYNC240 - a file delays nothing
    thieves.append(steal(victim.port, tmp_path / "listening", READY_FILE=str(ready)))
    await bound(tmp_path / "listening")
    await until(lambda: len(listening_sockets(Address("127.0.0.1", victim.port)) or ()) == 2)
    ready.touch()
    await assert_turned_away(chat, victim, os.getuid())


async def test_who_takes_the_port_while_no_keeper_runs_gets_nothing_from_the_next_one(
    table: Table,
    state_dir: Path,  # noqa: F811
    keeper: Running,
    chat: Deploying,  # noqa: F811
    tmp_path: Path,
    thieves: list[subprocess.Popen[bytes]],
) -> None:
    closing = tmp_path / "closing"
    await chat.open({"command": (sys.executable, "-S", "-c", SERVES_UNTIL_TOLD, "{port}", str(closing))})
    [victim] = await chat.healthy(1)
    keeper.keeper.stop()
    await keeper.task
    closing.touch()
    await until(Path(f"{closing}.done").exists)
    thieves.append(steal(victim.port, tmp_path / "listening"))
    await bound(tmp_path / "listening")
    async with running_keeper(table, state_dir, Rollouts(), holder="next"):
        [ended] = await chat.ended(1)
    assert "another program" in ended.last_error
    assert len(await chat.events("port_taken")) == 1


async def test_a_replica_that_ends_because_its_port_was_taken_is_not_the_revisions_fault(
    chat: Deploying,  # noqa: F811
    gate: Path,
) -> None:
    gives_up = WAITS_THEN_SERVES.replace(
        "except OSError:\n        time.sleep(0.1)", "except OSError:\n        sys.exit(3)"
    )
    assert "sys.exit(3)" in gives_up
    await chat.open(
        {
            "command": (sys.executable, "-S", "-c", gives_up, "{port}", str(gate)),
            "health_check": {"path": "/", "interval": "1h"},
        },
        max_replacements=0,
    )
    victim = await starting(chat)
    with socket.create_server(("127.0.0.1", victim.port)):
        gate.touch()  # noqa: ASYNC240 - as above
        [ended] = await chat.ended(1)
    assert "another program" in ended.last_error
    assert "exited with code 3" in ended.last_error
    assert (await chat.set_row()).replacements == 0


@pytest.mark.parametrize("parent", [PARENT_OF_A_SERVER, FORGETFUL_PARENT], ids=["without a mark", "without a parent"])
async def test_a_replica_may_listen_in_a_process_of_another_session(
    chat: Deploying,  # noqa: F811
    parent: str,
) -> None:
    await chat.open({"command": (sys.executable, "-S", "-c", parent, *server()[1:])})
    [healthy] = await chat.healthy(1)
    assert healthy.health is RouteHealthStatus.HEALTHY
