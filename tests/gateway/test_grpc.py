"""Requests of gRPC on the real Envoy: they go to a port of their own, and switch with all others."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import grpc
import pytest
import pytest_asyncio

from celadon.domain.decisions.drain import ENOUGH_ZERO_REPORTS
from celadon.domain.decisions.publication import Publication, SetRole
from celadon.gateway.load_reports import DRAIN_INTERVAL, DrainLoad
from celadon.gateway.resources import CONNECT_TIMEOUT
from celadon.gateway.routing import PREFIX_HEADER, Routing
from tests.gateway.conftest import Gateway, serving
from tests.gateway.grpc_replica import GENERATE, GrpcReplica, finish, grpc_client, say
from tests.gateway.router import Router, until
from tests.gateway.traffic import BLUE, GREEN, LOOPBACK, PREVIEW_KEY, after_switch, before_switch, publication

pytestmark = pytest.mark.parts

SWITCHES = 20


@pytest_asyncio.fixture(loop_scope="session")
async def blue() -> AsyncIterator[GrpcReplica]:
    async with GrpcReplica("blue").listening() as replica:
        yield replica


@pytest_asyncio.fixture(loop_scope="session")
async def green() -> AsyncIterator[GrpcReplica]:
    async with GrpcReplica("green").listening() as replica:
        yield replica


def grpc_ports(*replicas: GrpcReplica) -> Mapping[int, int]:
    return {replica.port: replica.grpc_port for replica in replicas}


def before(epoch: int, blue: GrpcReplica, green: GrpcReplica) -> Publication:
    return before_switch(epoch, [blue.port], [green.port], grpc=grpc_ports(blue, green))


def after(epoch: int, blue: GrpcReplica, green: GrpcReplica) -> Publication:
    return after_switch(epoch, [blue.port], [green.port], grpc=grpc_ports(blue, green))


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(blue: GrpcReplica, green: GrpcReplica, ports: Routing) -> AsyncIterator[Gateway]:
    async with serving([before(1, blue, green)], ports) as made:
        yield made


async def test_a_call_goes_to_the_port_of_grpc_and_any_other_request_to_that_of_http(
    router: Router, blue: GrpcReplica
) -> None:
    async with grpc_client(router.live) as client:
        assert await client.generate(b"one") == "blue"
    assert (await router.ask(method="POST")).json["colour"] == "blue"
    assert (blue.calls, blue.requests) == ({b"one": 1}, 1)


async def test_a_call_whose_method_begins_with_the_deployments_path_finds_it(
    router: Router, green: GrpcReplica
) -> None:
    for host, metadata, colour in ((LOOPBACK, {}, "blue"), (LOOPBACK, {"x_celadon_preview": PREVIEW_KEY}, "green")):
        async with grpc_client(router.live, host, **metadata) as client:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = client.channel.unary_unary(f"/chat{GENERATE}")
            assert (await call(b"", metadata=client.metadata, timeout=60)).decode() == colour
    assert green.metadata[PREFIX_HEADER] == "/chat"


async def test_switches_under_calls_lose_none_and_run_none_twice(
    gateway: Gateway, router: Router, blue: GrpcReplica, green: GrpcReplica
) -> None:
    asked = 0
    answers: dict[str, int] = {"blue": 0, "green": 0}
    going = True
    async with grpc_client(router.live) as client:

        async def call_all_the_time() -> None:
            nonlocal asked
            while going:
                asked += 1
                answers[await client.generate(str(asked).encode())] += 1

        async def chat_all_the_time() -> None:
            while going:
                chat = client.chat()
                said = {(await say(chat, str(number))).partition(":")[0] for number in range(20)}
                assert len(said) == 1
                assert await finish(chat) is grpc.StatusCode.OK

        load = [asyncio.create_task(one()) for one in (call_all_the_time, call_all_the_time, chat_all_the_time)]
        for epoch in range(2, 2 + SWITCHES):
            enough = asked + 20
            await until(lambda enough=enough: asked >= enough)
            await gateway.tell((after if epoch % 2 == 0 else before)(epoch, blue, green))
        going = False
        await asyncio.gather(*load)
    assert min(answers.values()) > SWITCHES
    assert sum(answers.values()) == asked
    assert blue.calls + green.calls == {str(number).encode(): 1 for number in range(1, asked + 1)}


async def test_a_client_that_keeps_its_connection_reaches_green_with_its_next_call(
    gateway: Gateway, router: Router, blue: GrpcReplica, green: GrpcReplica
) -> None:
    async with grpc_client(router.live) as client:
        assert await client.generate() == "blue"
        await gateway.tell(after(2, blue, green))
        assert await client.generate() == "green"
        await gateway.tell(before(3, blue, green))
        assert await client.generate() == "blue"


@pytest.mark.parametrize("limit", [1, 10])
async def test_a_replica_that_takes_few_requests_on_a_connection_gets_more_connections(
    limit: int, gateway: Gateway, router: Router
) -> None:
    async with GrpcReplica("blue", max_concurrent_streams=limit).listening() as strict:
        live = {(BLUE, SetRole.LIVE): [strict.port]}
        await gateway.tell(publication(2, live, grpc=grpc_ports(strict), streams=limit))
        async with grpc_client(router.live) as client:
            assert len(await asyncio.gather(*(client.sleep(0.2) for _ in range(100)))) == 100


async def test_the_deadline_of_a_call_reaches_the_replica(router: Router) -> None:
    async with grpc_client(router.live) as client:
        assert 10 < float(await client.sleep(0.0, timeout=60)) <= 60
        assert await client.sleep(0.0, timeout=None) == b"None"


async def test_a_call_ends_at_the_replica_when_its_deadline_has_passed(router: Router, blue: GrpcReplica) -> None:
    async with grpc_client(router.live) as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.sleep(600, timeout=3)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: blue.cancelled == 1)


@pytest.mark.parametrize("listener", ["live", "preview"])
async def test_previews_reach_green_by_key_or_by_listener(listener: str, router: Router, green: GrpcReplica) -> None:
    by_key = listener == "live"
    key = {"x_celadon_preview": PREVIEW_KEY} if by_key else {}
    async with grpc_client(router.live if by_key else router.preview, **key) as client:
        assert await client.generate() == "green"
    assert "x-celadon-preview" not in green.metadata
    assert green.metadata["x-celadon-colour"] == "green"
    async with grpc_client(router.live, x_celadon_preview="another key") as client:
        assert await client.generate() == "blue"


async def refusal(client_port: int, host: str = "chat", **metadata: str) -> tuple[grpc.StatusCode, str]:
    async with grpc_client(client_port, host, **metadata) as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.generate()
    return refused.value.code(), refused.value.details() or ""


async def test_a_deployment_without_a_port_for_grpc_says_so(
    gateway: Gateway, router: Router, blue: GrpcReplica
) -> None:
    await gateway.tell(publication(2, {(BLUE, SetRole.LIVE): [blue.port]}))
    code, message = await refusal(router.live)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "No replica of this deployment has a port for gRPC" in message
    assert (await router.ask()).status == 200
    assert (await refusal(router.preview))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_a_deployment_of_grpc_alone_says_so_to_all_other_requests(
    gateway: Gateway, router: Router, blue: GrpcReplica
) -> None:
    alone = publication(2, {(BLUE, SetRole.LIVE): [blue.port]}, grpc=grpc_ports(blue))
    await gateway.tell(alone.model_copy(update={"endpoints": (), "preview": (), "serves_http": False}))
    answer = await router.ask()
    assert (answer.status, answer.json["error"]["code"]) == (415, "no_http_port")
    async with grpc_client(router.live) as client:
        assert await client.generate() == "blue"


async def test_a_call_while_no_replica_takes_any_is_unavailable(gateway: Gateway, router: Router) -> None:
    await gateway.tell(publication(2, {(BLUE, SetRole.LIVE): []}).model_copy(update={"grpc_streams": 100}))
    code, message = await refusal(router.live)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "no replica that can take requests now" in message


async def test_the_first_revision_with_grpc_is_acknowledged_only_once_calls_reach_it(
    gateway: Gateway, router: Router, blue: GrpcReplica, green: GrpcReplica
) -> None:
    for epoch in range(2, 12, 2):
        await gateway.tell(publication(epoch, {(BLUE, SetRole.LIVE): [blue.port]}))
        assert (await refusal(router.live))[0] is grpc.StatusCode.UNIMPLEMENTED
        await gateway.tell(publication(epoch + 1, {(GREEN, SetRole.LIVE): [green.port]}, grpc=grpc_ports(green)))
        async with grpc_client(router.live) as client:
            assert await client.generate() == "green"


async def test_a_chat_outlives_the_switch_and_holds_the_drain(
    gateway: Gateway, router: Router, blue: GrpcReplica, green: GrpcReplica
) -> None:
    async with grpc_client(router.live) as client:
        chat = client.chat()
        assert await say(chat, "one") == "blue: one"
        await gateway.tell(after(2, blue, green))
        assert await client.generate() == "green"
        assert await say(chat, "two") == "blue: two"
        await until(lambda: gateway.heard.loads.get(BLUE) == DrainLoad(running=1, zero_reports=0))
        assert await finish(chat) is grpc.StatusCode.OK
        await until(lambda: gateway.heard.loads[BLUE].zero_reports >= ENOUGH_ZERO_REPORTS)


async def test_a_chat_with_a_member_that_leaves_holds_its_departure(
    gateway: Gateway, router: Router, blue: GrpcReplica, green: GrpcReplica
) -> None:
    both = {(BLUE, SetRole.LIVE): [blue.port, green.port]}
    ports = grpc_ports(blue, green)
    await gateway.tell(publication(2, {(BLUE, SetRole.LIVE): [blue.port]}, grpc=ports))
    async with grpc_client(router.live) as client:
        chat = client.chat()
        assert await say(chat, "one") == "blue: one"
        await gateway.tell(publication(3, both, grpc=ports, leaving={blue.port: 3}))
        for _ in range(10):
            assert await client.generate() == "green"
        await until(lambda: [load.running for load in gateway.heard.loads.values()] == [1])
        assert await finish(chat) is grpc.StatusCode.OK
        await until(lambda: [load.zero_reports for load in gateway.heard.loads.values()] == [ENOUGH_ZERO_REPORTS])
    assert (await router.ask()).json["colour"] == "green"


async def test_a_changed_limit_never_makes_a_drain_look_empty(
    gateway: Gateway, router: Router, blue: GrpcReplica, green: GrpcReplica
) -> None:
    ports = grpc_ports(blue, green)
    async with grpc_client(router.live) as client:
        chat = client.chat()
        assert await say(chat, "one") == "blue: one"
        before = {(BLUE, SetRole.LIVE): [blue.port], (GREEN, SetRole.GREEN): [green.port]}
        await gateway.tell(publication(2, before, grpc=ports, streams=7))
        after = {(BLUE, SetRole.DRAINING): [blue.port], (GREEN, SetRole.LIVE): [green.port]}
        await gateway.tell(publication(3, after, grpc=ports, streams=7))
        assert await client.generate() == "green"
        await asyncio.sleep(CONNECT_TIMEOUT.total_seconds() + 10 * DRAIN_INTERVAL.total_seconds())
        assert not gateway.heard.all_loads
        assert await say(chat, "two") == "blue: two"


async def test_a_call_is_tried_again_where_no_replica_has_seen_it(
    gateway: Gateway, router: Router, blue: GrpcReplica
) -> None:
    dead = {1: 1, 2: 2, 3: 3}
    live = {(BLUE, SetRole.LIVE): [blue.port, *dead]}
    await gateway.tell(publication(2, live, grpc={**grpc_ports(blue), **dead}))
    async with grpc_client(router.live) as client:
        assert {await client.generate(str(number).encode()) for number in range(50)} == {"blue"}
    assert set(blue.calls.values()) == {1}


async def test_a_call_whose_replica_fails_runs_once(gateway: Gateway, router: Router, blue: GrpcReplica) -> None:
    live = {(BLUE, SetRole.LIVE): [blue.port]}
    async with GrpcReplica("other").listening() as other, grpc_client(router.live) as client:
        await gateway.tell(publication(2, {(BLUE, SetRole.LIVE): [other.port]}, grpc=grpc_ports(other)))
        calls = [asyncio.create_task(client.sleep(600)) for _ in range(5)]
        await until(lambda: sum(other.calls.values()) == len(calls))
        await gateway.tell(publication(3, live, grpc=grpc_ports(blue)))
        await other.fail()
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {one.code() for one in answers if isinstance(one, grpc.aio.AioRpcError)} == {grpc.StatusCode.UNAVAILABLE}
    assert not blue.calls


async def test_requests_by_http_2_without_tls_that_are_not_of_grpc_go_to_the_port_of_http(
    router: Router, blue: GrpcReplica
) -> None:
    assert b'"colour": "blue"' in await ask_by_http_2(router.live, "chat", "/v1/models")
    assert (blue.requests, blue.calls) == (1, {})


async def ask_by_http_2(port: int, host: str, path: str) -> bytes:
    """Send a request on a new connection of HTTP/2, without TLS and without asking first; return the answer's body."""
    pairs = {":method": "GET", ":scheme": "http", ":authority": host, ":path": path}
    fields = b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in pairs.items()
    )
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b""))
    writer.write(_frame(_HEADERS, _END_HEADERS | _END_STREAM, 1, fields))
    body = b""
    try:
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            body += payload if head[3] == _DATA else b""
            if head[3] in {_DATA, _HEADERS} and head[4] & _END_STREAM:
                return body
    finally:
        writer.close()


_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
