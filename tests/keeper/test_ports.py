"""Replicas with several ports: each is the replica's alone, and probes ask the one that they mean."""

import sys
from pathlib import Path

import pytest

from celadon.domain.language.states import RouteHealthStatus
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Running
from tests.provisioners.programs import until

pytestmark = pytest.mark.parts

PORTS = {"http": "http1", "grpc": "h2c", "admin": "none"}

SERVER = """
import os, pathlib, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import grpc
http, rpc, admin = (int(port) for port in sys.argv[1:4])
directory = pathlib.Path(sys.argv[4])
def serve(port, status):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
        def log_message(self, *arguments):
            pass
    threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever).start()
serve(http, 500)
serve(admin, 200)
server = grpc.server(ThreadPoolExecutor(2))
check = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\\x08\\x01")
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})])
while not (directory / "open").exists():
    time.sleep(0.05)
assert server.add_insecure_port(f"127.0.0.1:{rpc}") == rpc
server.start()
server.wait_for_termination()
"""
"""Answers 500 on its first port, SERVING on its second, once the file ``open`` is there, and 200 on its third."""


def revision(directory: Path, **check: object) -> dict[str, object]:
    return {
        "command": (sys.executable, "-c", SERVER, "{port}", "{port.grpc}", "{port.admin}", str(directory)),
        "ports": PORTS,
        "health_check": {"interval": "100ms", "timeout": "30s", "failure_threshold": 2, **check},
    }


@pytest.mark.parametrize("check", [{"grpc": {}}, {"path": "/", "port": "admin"}])
async def test_a_probe_asks_the_port_that_it_means(
    check: dict[str, object], keeper: Running, chat: Deploying, tmp_path: Path
) -> None:
    (tmp_path / "open").touch()
    await chat.open(revision(tmp_path, **check))
    await chat.healthy(1)
    assert keeper.metric("celadon_keeper_probes_total", result="passed") > 0


async def test_a_replica_is_healthy_only_once_its_port_for_grpc_is_open(
    keeper: Running, chat: Deploying, tmp_path: Path
) -> None:
    await chat.open(revision(tmp_path, path="/", port="admin"))
    await until(lambda: keeper.metric("celadon_keeper_probes_total", result="failed") >= 4)
    [route] = await chat.routes()
    assert route.health is RouteHealthStatus.UNHEALTHY
    assert f"nobody listens on 127.0.0.1:{route.other_ports['grpc']}" in route.last_error
    (tmp_path / "open").touch()
    await chat.healthy(1)


@pytest.mark.usefixtures("keeper")
async def test_no_two_replicas_have_a_port_together(chat: Deploying, tmp_path: Path) -> None:
    (tmp_path / "open").touch()
    await chat.open(revision(tmp_path, grpc={}), replicas=3)
    await chat.healthy(3)
    ports = [port for row in await chat.routes() for port in (row.port, *row.other_ports.values())]
    assert len(set(ports)) == len(ports) == 3 * len(PORTS)
