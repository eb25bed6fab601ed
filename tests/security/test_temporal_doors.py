"""What a local user's plain socket, and a web page, can do at the local stack's Temporal without speaking gRPC."""

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from celadon.stack.ports import LOOPBACK
from celadon.stack.temporal_server import running_temporal

pytestmark = [pytest.mark.parts, pytest.mark.asyncio(loop_scope="session")]

EVIL = "http://evil.example"
PATIENCE_SECONDS = 30
HTTP2_SETTINGS = b"\x00\x00\x06\x04"
"""With this every HTTP/2 server answers the first bytes of a connection, and none of HTTP/1 does."""

Address = tuple[str, int]


def words_of(process: psutil.Process) -> list[str]:
    """Return the command of a process; none of one that has ended, as children of other tests may have."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


class Server:
    """A Temporal server as the local stack starts it, with every address it listens on."""

    def __init__(self, grpc: str, database: Path) -> None:
        host, _, port = grpc.partition(":")
        self.grpc = (host, int(port))
        [process] = [one for one in psutil.Process().children() if str(database) in words_of(one)]
        self.listens = {
            (one.laddr.ip, one.laddr.port) for one in process.net_connections() if one.status == psutil.CONN_LISTEN
        }

    def only(self, sign: bytes, path: str) -> Address:
        """Return the one address whose answer to ``path`` has the ``sign``."""
        [found] = [one for one in self.listens if sign in answer(one, request("GET", path, host=f"{one[0]}:{one[1]}"))]
        return found

    @property
    def http_api(self) -> Address:
        return self.only(b'"code"', "/nowhere")

    @property
    def ui(self) -> Address:
        return self.only(b"<!doctype html", "/")

    @property
    def metrics(self) -> Address:
        return self.only(b"# TYPE", "/metrics")


async def until_ui_reaches(server: Server) -> None:
    """Wait until the UI has found the server, which it starts beside and then asks again only now and then."""
    read = request("GET", "/api/v1/namespaces", host=f"{server.ui[0]}:{server.ui[1]}")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while status(await asyncio.to_thread(answer, server.ui, read)) != HTTPStatus.OK:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(reachable_directory: Path) -> AsyncIterator[Server]:
    directory = reachable_directory / "temporal-doors"
    directory.mkdir()
    async with running_temporal(directory) as address:
        server = Server(address, directory / "temporal.sqlite")
        await until_ui_reaches(server)
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def client(server: Server) -> Client:
    return await Client.connect(f"{server.grpc[0]}:{server.grpc[1]}")


def request(method: str, path: str, *, host: str | None, body: str = "", **headers: str) -> bytes:
    """Write a request by hand; ``host=None`` leaves the header out, as HTTP/1.0 may."""
    lines = [f"{method} {path} HTTP/{'1.0' if host is None else '1.1'}", "Connection: close"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", body]).encode()


def answer(address: Address, sent: bytes) -> bytes:
    """Send ``sent`` and return all that comes back until the connection ends."""
    received = b""
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(sent)
        try:
            while more := connection.recv(65_536):
                received += more
        except ConnectionResetError:
            pass
    return received


def status(received: bytes) -> int:
    return int(received.split(b" ", 2)[1])


def start_of(workflow: str) -> tuple[str, str]:
    """Return the path and the body that start a workflow through Temporal's HTTP API, or through its UI."""
    body = {
        "workflowId": workflow,
        "workflowType": {"name": "BlueGreenRollout"},
        "taskQueue": {"name": "celadon"},
    }
    return f"/api/v1/namespaces/default/workflows/{workflow}", json.dumps(body)


async def was_started(client: Client, workflow: str) -> bool:
    try:
        await client.get_workflow_handle(workflow).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


def new_workflow() -> str:
    return f"attack-{uuid.uuid4().hex}"


HOSTS = ("evil.example", "{own}", "localhost:{port}", "127.0.0.1", "", "/", "*", "[::1]", None)
"""Of another site, forged as the address itself and in other ways, and none at all."""


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_the_http_api_starts_no_workflow(server: Server, client: Client, host: str | None, prefix: str) -> None:
    address = server.http_api
    workflow = new_workflow()
    path, body = start_of(workflow)
    path = prefix + path.removeprefix("/api/v1")
    host = None if host is None else host.format(own=f"{address[0]}:{address[1]}", port=address[1])

    for headers in (
        {"Content_Type": "text/plain", "Origin": EVIL},
        {"Content_Type": "application/json"},
        {"Content_Type": "application/json", "X_Forwarded_Host": "/", "X_HTTP_Method_Override": "POST"},
    ):
        assert status(answer(address, request("POST", path, host=host, body=body, **headers))) in {400, 403}

    assert not await was_started(client, workflow)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "path",
    ["/api/v1/namespaces", "/namespaces/default/workflows", "/cluster", "/api/v1/system-info", "/system-info"],
)
async def test_the_http_api_tells_nothing(server: Server, host: str | None, path: str) -> None:
    address = server.http_api
    host = None if host is None else host.format(own=f"{address[0]}:{address[1]}", port=address[1])

    assert status(answer(address, request("GET", path, host=host))) in {400, 403, 404}


@pytest.mark.parametrize("authority", ["%2F", "/", "[fe80::1%25a/b]", "127.0.0.1"])
async def test_no_absolute_address_passes_for_the_host_that_is_let_in(server: Server, authority: str) -> None:
    sent = request("GET", f"http://{authority}/api/v1/namespaces", host="127.0.0.1")

    assert status(answer(server.http_api, sent)) in {301, 400, 403}


async def test_the_http_api_speaks_no_other_protocol(server: Server) -> None:
    received = answer(server.http_api, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")

    assert not received.startswith(HTTP2_SETTINGS), "in HTTP/2 the host is no header that a server must check"


async def test_every_other_address_is_known(server: Server) -> None:
    others = server.listens - {server.http_api, server.ui, server.metrics}

    assert server.grpc in others
    for address in others:
        received = answer(address, request("POST", start_of(new_workflow())[0], host="127.0.0.1"))
        assert received.startswith(HTTP2_SETTINGS), f"{address} is gRPC, which no web page can speak"


async def test_metrics_are_read_and_nothing_else(server: Server) -> None:
    path, body = start_of(new_workflow())

    assert status(answer(server.metrics, request("POST", path, host="127.0.0.1", body=body))) == 404
    assert status(answer(server.metrics, request("GET", "/debug/pprof/", host="127.0.0.1"))) == 404


async def test_the_ui_is_not_where_a_web_page_would_look_for_it(server: Server) -> None:
    host, port = server.ui

    assert psutil.MACOS or host not in {LOOPBACK, "0.0.0.0", "::", "::1"}  # noqa: S104 - nobody binds it here
    if not psutil.MACOS:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, port), timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "text/plain", "Origin": EVIL, "Sec_Fetch_Site": "cross-site"},
        {"Content_Type": "text/plain", "Origin": EVIL, "Sec_Fetch_Site": "same-site"},
        {"Content_Type": "text/plain", "Origin": EVIL},
        {"Content_Type": "application/x-www-form-urlencoded", "Origin": EVIL},
        {"Content_Type": "text/plain", "Origin": "null", "Cookie": "_csrf=guessed"},
    ],
)
async def test_a_page_of_another_site_starts_nothing_through_the_ui(
    server: Server,
    client: Client,
    headers: dict[str, str],
) -> None:
    """Even one that knows the address."""
    workflow = new_workflow()
    path, body = start_of(workflow)
    host = f"{server.ui[0]}:{server.ui[1]}"

    received = answer(server.ui, request("POST", path, host=host, body=body, **headers))

    assert status(received) in {400, 403}
    assert not await was_started(client, workflow)


async def test_the_ui_gives_no_other_site_leave_to_read(server: Server) -> None:
    host = f"{server.ui[0]}:{server.ui[1]}"
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization,x-csrf-token"}

    for sent in (
        request("OPTIONS", start_of("x")[0], host=host, Origin=EVIL, **asked),
        request("GET", "/api/v1/namespaces", host=host, Origin=EVIL),
    ):
        assert b"access-control-allow-origin" not in answer(server.ui, sent).lower()


async def test_a_person_still_sends_a_signal_through_the_ui(server: Server, client: Client) -> None:
    workflow = new_workflow()
    await client.start_workflow("BlueGreenRollout", id=workflow, task_queue="nobody-listens")
    host = f"{server.ui[0]}:{server.ui[1]}"
    page = answer(server.ui, request("GET", "/", host=host)).decode("utf-8", "replace")
    token = page.partition("_csrf=")[2].partition(";")[0]

    received = answer(
        server.ui,
        request(
            "POST",
            f"/api/v1/namespaces/default/workflows/{workflow}/signal/promote",
            host=host,
            body=json.dumps({"signalName": "promote"}),
            Origin=f"http://{host}",
            Content_Type="application/json",
            Cookie=f"_csrf={token}",
            X_CSRF_Token=token,
        ),
    )

    assert status(received) == 200, received
    history = await client.get_workflow_handle(workflow).fetch_history()
    assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED in {event.event_type for event in history.events}


async def test_no_activity_runs_without_a_workflow(client: Client) -> None:
    with pytest.raises(RPCError, match="Standalone activity is disabled"):
        await client.start_activity(
            "switch",
            id=new_workflow(),
            task_queue="celadon",
            start_to_close_timeout=timedelta(seconds=5),
        )
