"""gRPC probes of real servers."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from celadon.domain.language.probe import GrpcProbe, GrpcQuestion
from celadon.keeper.probes import Prober
from celadon.provisioners.protocol import Address

PATIENT = timedelta(seconds=30)
LONG_NAME = "n" * 200

Answer = Callable[[bytes, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


@pytest_asyncio.fixture(loop_scope="session")
async def prober() -> AsyncIterator[Prober]:
    async with Prober() as made:
        yield made


@asynccontextmanager
async def serving(method: str, answer: Answer) -> AsyncIterator[Address]:
    """Run a server that has one method."""
    service, _, name = method.removeprefix("/").partition("/")
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield Address("127.0.0.1", port)
    finally:
        await server.stop(None)


def answering(message: bytes) -> Answer:
    async def answer(_: bytes, __: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return message

    return answer


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"\x08\x01", ""),
        (b"\x12\x02ok\x08\x01", ""),
        (b"", "answered UNKNOWN"),
        (b"\x08\x02", "answered NOT_SERVING"),
        (b"\x08\x63", "answered 99"),
        (b"\x08", "the answer cannot be read"),
        (b"\x0f", "the answer cannot be read"),
    ],
)
async def test_only_serving_passes(prober: Prober, message: bytes, told: str) -> None:
    async with serving(GrpcQuestion.HEALTH.value, answering(message)) as address:
        error = (await prober.probe(address, GrpcProbe(name="chat", timeout=PATIENT))).error
    assert error == (f"grpc.health.v1.Health/Check of 'chat': {told}" if told else "")


@pytest.mark.parametrize("name", ["", "chat.v1.Chat", LONG_NAME])
@pytest.mark.parametrize("question", GrpcQuestion)
async def test_the_name_is_asked_for(prober: Prober, question: GrpcQuestion, name: str) -> None:
    asked: list[bytes] = []

    async def answer(message: bytes, _: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        asked.append(message)
        return b"\x08\x01"

    async with serving(question.value, answer) as address:
        assert (await prober.probe(address, GrpcProbe(question=question, name=name, timeout=PATIENT))).passed
    head = {0: b"", 12: b"\x0a\x0c", 200: b"\x0a\xc8\x01"}[len(name)]
    assert asked == [head + name.encode()]


async def test_a_model_that_is_not_ready_fails(prober: Prober) -> None:
    ask = GrpcProbe(question=GrpcQuestion.MODEL_READY, name="m", timeout=PATIENT)
    async with serving(ask.question.value, answering(b"")) as address:
        error = (await prober.probe(address, ask)).error
    assert error == "inference.GRPCInferenceService/ModelReady of 'm': answered that it is not ready"


async def test_a_server_without_the_service_fails_by_its_code(prober: Prober) -> None:
    async with serving("/other.Service/Ask", answering(b"")) as address:
        error = (await prober.probe(address, GrpcProbe(timeout=PATIENT))).error
    assert error.startswith("grpc.health.v1.Health/Check of '': UNIMPLEMENTED")


async def test_an_unknown_service_fails_by_its_code(prober: Prober) -> None:
    async def answer(_: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")

    async with serving(GrpcQuestion.HEALTH.value, answer) as address:
        error = (await prober.probe(address, GrpcProbe(name="x", timeout=PATIENT))).error
    assert error == "grpc.health.v1.Health/Check of 'x': NOT_FOUND: no such service"


async def test_a_port_that_accepts_and_says_nothing_fails_within_the_timeout(prober: Prober) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        error = (await prober.probe(address, GrpcProbe(timeout=timedelta(milliseconds=300)))).error
    assert error == "grpc.health.v1.Health/Check of '': no answer within 0.3s"


async def test_a_server_that_comes_later_is_found_by_the_next_probe(prober: Prober) -> None:
    """A channel that was refused waits before it tries again; the next probe has a channel of its own."""
    async with serving(GrpcQuestion.HEALTH.value, answering(b"\x08\x01")) as address:
        port = address.port
    refused = await prober.probe(Address("127.0.0.1", port), GrpcProbe(timeout=PATIENT))
    assert "UNAVAILABLE" in refused.error
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answering(b"\x08\x01"))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
    )
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    await server.start()
    try:
        assert (await prober.probe(address, GrpcProbe(timeout=PATIENT))).error == ""
    finally:
        await server.stop(None)


async def test_a_cancelled_probe_ends_as_cancelled(prober: Prober) -> None:
    asked = asyncio.Event()

    async def never(_: bytes, __: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        asked.set()
        await asyncio.sleep(PATIENT.total_seconds())
        return b""

    async with serving(GrpcQuestion.HEALTH.value, never) as address:
        probing = asyncio.create_task(prober.probe(address, GrpcProbe(timeout=PATIENT)))
        await asked.wait()
        probing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probing


def test_grpc_adds_no_handlers_of_forks() -> None:
    assert os.environ["GRPC_ENABLE_FORK_SUPPORT"] == "false"
