"""What a router answers itself, to clients of HTTP and of gRPC, on the real Envoy."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from celadon.domain.decisions.publication import SetRole
from celadon.domain.language.traffic import TrafficSettings
from celadon.gateway import local_replies
from celadon.gateway.local_replies import LOCAL_REPLIES, LocalReply
from celadon.gateway.routing import Routing
from tests.gateway.conftest import Gateway, router_of
from tests.gateway.replica import Replica
from tests.gateway.router import Answer, Router, raw, until
from tests.gateway.traffic import BLUE, LOOPBACK, publication

SHORT = timedelta(milliseconds=200)
NOBODY_LISTENS = 1


def reply(code: str) -> LocalReply:
    """Return a reply by its code."""
    return next(one for one in LOCAL_REPLIES if one.code == code)


def test_codes_are_told_once_and_messages_are_plain_sentences() -> None:
    codes = [one.code for one in LOCAL_REPLIES]
    assert len(codes) == len(set(codes))
    for one in LOCAL_REPLIES:
        assert one.message.endswith(".")
        # Envoy would take it for a variable.
        assert "%" not in one.body


class RawReplica:
    """Listens, and does with each connection what it is told."""

    def __init__(self, act: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        """Prepare a replica that acts so on what it gets."""
        self.requests = 0
        """How many connections have begun with a request."""
        self._act = act

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Listen on the port that is yielded."""
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            await self._act(reader, writer)
        except asyncio.IncompleteReadError:
            # A router opens connections that it then has no request for.
            return
        finally:
            writer.close()


async def hang_up(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Answer nothing, and end the connection."""


async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with something that is not HTTP."""
    writer.write(b"good day\r\n\r\n")
    await writer.drain()


async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Answer nothing for as long as the connection is there."""
    await reader.read()


def tells(answer: Answer, code: str) -> None:
    """Assert that an answer is the reply with this code, in the shape of OpenAI's errors."""
    expected = reply(code)
    assert (answer.json["error"]["code"], answer.status) == (code, expected.status)
    assert answer.json == {"error": {"message": expected.message, "type": expected.type, "param": None, "code": code}}
    assert answer.headers["content-type"] == "application/json"
    retry_after = expected.retry_after
    assert answer.headers.get("retry-after") == (None if retry_after is None else f"{retry_after.total_seconds():.0f}")


async def grpc_tells(router: Router, code: str, host: str = "chat") -> None:
    """Assert that a gRPC client gets the reply with this code."""
    expected = reply(code)
    options = [("grpc.default_authority", host), ("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(f"{LOOPBACK}:{router.live}", options=options) as channel:
        infer: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/model.Model/Infer")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await infer(b"", timeout=60)
    assert (raised.value.details(), raised.value.code().name) == (expected.message, expected.grpc_status.name)


@pytest_asyncio.fixture(loop_scope="session")
async def empty(ports: Routing, tmp_path: Path) -> AsyncIterator[Router]:
    """Run a router for a deployment without replicas."""
    async with router_of(ports, tmp_path) as made:
        yield made


@pytest.mark.parts
async def test_an_address_of_no_deployment(empty: Router) -> None:
    tells(await empty.ask(host="nobody"), local_replies.NO_DEPLOYMENT)
    await grpc_tells(empty, local_replies.NO_DEPLOYMENT, "nobody")


@pytest.mark.parts
async def test_a_deployment_without_a_replica(empty: Router) -> None:
    tells(await empty.ask(), local_replies.NO_HEALTHY_REPLICA)
    await grpc_tells(empty, local_replies.NO_HEALTHY_REPLICA)


@pytest.mark.parts
async def test_a_deployment_that_serves_no_grpc(gateway: Gateway, router: Router, blue: Replica) -> None:
    await gateway.tell(publication(2, {(BLUE, SetRole.LIVE): [blue.port]}))
    await grpc_tells(router, local_replies.NO_GRPC_PORT)


@pytest.mark.parts
async def test_a_deployment_that_serves_grpc_alone(gateway: Gateway, router: Router, blue: Replica) -> None:
    live = publication(2, {(BLUE, SetRole.LIVE): [blue.port]}, grpc={blue.port: blue.port})
    await gateway.tell(live.model_copy(update={"endpoints": (), "preview": (), "serves_http": False}))
    tells(await router.ask(), local_replies.NO_HTTP_PORT)


@pytest.mark.parts
async def test_a_head_gets_the_status_alone(empty: Router) -> None:
    answer = await empty.ask(method="HEAD")
    assert (answer.status, answer.body) == (503, "")


@pytest.mark.parts
@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", local_replies.BAD_REQUEST, id="no host"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: chat\r\nno colon\r\n\r\n", local_replies.BAD_REQUEST, id="a bad header"),
        pytest.param(
            b"GET / HTTP/1.1\r\nhost: chat\r\nbig: " + b"x" * 70_000 + b"\r\n\r\n",
            local_replies.HEADERS_TOO_LARGE,
            id="large headers",
        ),
        pytest.param(b"GET / HTTP/1.0\r\nhost: chat\r\n\r\n", local_replies.HTTP_VERSION_TOO_OLD, id="HTTP/1.0"),
    ],
)
async def test_a_request_that_the_router_cannot_read(empty: Router, request_bytes: bytes, code: str) -> None:
    status, headers, body = await raw(empty, request_bytes)
    assert (status, headers["content-type"]) == (reply(code).status, "application/json")
    assert body == reply(code).body


@pytest.mark.parts
async def test_headers_that_do_not_come(ports: Routing, tmp_path: Path) -> None:
    async with router_of(replace(ports, headers_timeout=SHORT), tmp_path) as router:
        status, _, body = await raw(router, b"GET / HTTP/1.1\r\nhost: chat\r\n")
    assert (status, json.loads(body)["error"]["code"]) == (408, local_replies.REQUEST_TIMEOUT)


@pytest.mark.parts
async def test_replicas_that_nobody_can_connect_to(ports: Routing, tmp_path: Path) -> None:
    async with router_of(ports, tmp_path, NOBODY_LISTENS) as router:
        tells(await router.ask(), local_replies.REPLICA_UNREACHABLE)
        tells(await router.ask(method="POST"), local_replies.REPLICA_UNREACHABLE)
        await grpc_tells(router, local_replies.REPLICA_UNREACHABLE)


@pytest.mark.parts
async def test_a_replica_that_hangs_up(ports: Routing, tmp_path: Path) -> None:
    async with RawReplica(hang_up).listening() as port, router_of(ports, tmp_path, port) as router:
        tells(await router.ask(), local_replies.REPLICA_DISCONNECTED)
        tells(await router.ask(method="POST"), local_replies.REPLICA_DISCONNECTED)
        await grpc_tells(router, local_replies.REPLICA_DISCONNECTED)


@pytest.mark.parts
async def test_a_replica_that_does_not_speak_http(ports: Routing, tmp_path: Path) -> None:
    async with RawReplica(babble).listening() as port, router_of(ports, tmp_path, port) as router:
        tells(await router.ask(), local_replies.REPLICA_ANSWER_INVALID)
        await grpc_tells(router, local_replies.REPLICA_ANSWER_INVALID)


@pytest.mark.parts
async def test_a_replica_that_is_silent_for_too_long(ports: Routing, tmp_path: Path) -> None:
    impatient = replace(ports, stream_idle_timeout=SHORT)
    async with RawReplica(say_nothing).listening() as port, router_of(impatient, tmp_path, port) as router:
        tells(await router.ask(), local_replies.IDLE_TIMEOUT)
        await grpc_tells(router, local_replies.IDLE_TIMEOUT)


@pytest.mark.parts
async def test_an_answer_that_takes_too_long(ports: Routing, tmp_path: Path) -> None:
    impatient = replace(ports, deadline=SHORT)
    async with RawReplica(say_nothing).listening() as port, router_of(impatient, tmp_path, port) as router:
        tells(await router.ask(), local_replies.TIMEOUT)
        await grpc_tells(router, local_replies.TIMEOUT)


@pytest.mark.parts
async def test_a_deployment_at_its_limit(ports: Routing, tmp_path: Path) -> None:
    replica, one_at_a_time = RawReplica(say_nothing), TrafficSettings(max_requests=1)
    async with replica.listening() as port, router_of(ports, tmp_path, port, settings=one_at_a_time) as router:
        held = asyncio.create_task(router.ask())
        await until(lambda: replica.requests == 1)
        tells(await router.ask(), local_replies.OVERLOADED)
        # Requests of gRPC are counted for themselves.
        held_grpc = asyncio.create_task(grpc_tells(router, local_replies.OVERLOADED))
        await until(lambda: replica.requests == 2)
        await grpc_tells(router, local_replies.OVERLOADED)
        for one in (held, held_grpc):
            one.cancel()


@pytest.mark.parts
async def test_the_errors_of_replicas_are_not_touched(ports: Routing, tmp_path: Path, blue: Replica) -> None:
    async with router_of(ports, tmp_path, blue.port) as router:
        answer = await router.ask("/fail", method="POST")
    assert (answer.status, answer.body) == (503, "")
    assert "retry-after" not in answer.headers
