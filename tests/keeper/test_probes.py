"""Probes against a real server."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import pytest_asyncio

from celadon.domain.language.probe import GrpcProbe, HttpProbe, Probe, TcpProbe
from celadon.keeper.probes import Prober
from celadon.provisioners.protocol import Address

SHORT = timedelta(milliseconds=300)
PATIENT = timedelta(seconds=30)


@pytest_asyncio.fixture(loop_scope="session")
async def prober() -> AsyncIterator[Prober]:
    async with Prober() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def address() -> AsyncIterator[Address]:
    """Run a server that answers ``/<status>`` with that status, and ``/never`` not at all."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1].decode()
        if path == "/never":
            await reader.read()
        else:
            head = f"HTTP/1.1 {path[1:4]} Whatever\r\nLocation: /200\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])


@pytest.fixture
def closed_address() -> Iterator[Address]:
    """Return an address that nobody listens on, and that nobody else can have meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Address("127.0.0.1", bound.getsockname()[1])


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_an_answer_of_success_passes(prober: Prober, address: Address, status: int) -> None:
    assert (await prober.probe(address, HttpProbe(path=f"/{status}", timeout=PATIENT))).passed


@pytest.mark.parametrize("status", [301, 404, 500, 503])
async def test_any_other_answer_fails_and_is_named(prober: Prober, address: Address, status: int) -> None:
    result = await prober.probe(address, HttpProbe(path=f"/{status}?deep=1", timeout=PATIENT))
    assert result.error == f"GET /{status}?deep=1: answered {status}"


async def test_no_answer_in_time_fails(prober: Prober, address: Address) -> None:
    result = await prober.probe(address, HttpProbe(path="/never", timeout=SHORT))
    assert result.error == "GET /never: no answer within 0.3s"


async def test_a_cancellation_that_comes_with_the_timeout_is_not_lost(prober: Prober) -> None:
    asked = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    async with server:
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        probing = asyncio.create_task(prober.probe(address, HttpProbe(path="/never", timeout=timedelta(seconds=2))))
        await asked.wait()
        # Both are due when the event loop gets its next turn, the timeout first.
        asyncio.get_running_loop().call_later(2, probing.cancel)
        time.sleep(2.5)  # noqa: ASYNC251 - the turn comes late

        with pytest.raises(asyncio.CancelledError):
            await probing


async def test_a_closed_port_fails_both_probes(prober: Prober, closed_address: Address) -> None:
    get = await prober.probe(closed_address, HttpProbe(path="/200", timeout=PATIENT))
    connection = await prober.probe(closed_address, TcpProbe(timeout=PATIENT))
    assert get.error == "GET /200: connection refused"
    assert connection.error == f"connect to {closed_address}: connection refused"


async def test_an_answer_that_is_no_http_fails(prober: Prober) -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        assert not (await prober.probe(address, HttpProbe(path="/200", timeout=PATIENT))).passed
        assert (await prober.probe(address, TcpProbe(timeout=PATIENT))).passed


@pytest.mark.parametrize(
    "probe",
    [
        HttpProbe(path="/latest/meta-data", timeout=SHORT),
        GrpcProbe(timeout=SHORT),
        TcpProbe(timeout=SHORT),
    ],
)
async def test_a_metadata_address_is_not_probed(prober: Prober, probe: Probe) -> None:
    result = await prober.probe(Address("::ffff:169.254.169.254", 80), probe)
    assert "metadata" in result.error
