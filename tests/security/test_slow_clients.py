"""Clients that hold a connection and do nothing with it: half a head, half a body, an answer that nobody reads."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from celadon.api.process import limits_of
from celadon.api.protocol import possible_connections
from celadon.api.settings import ApiSettings
from celadon.domain.language.permissions import Role
from celadon.table.core.engine import Table
from tests.api.conftest import GENEROUS, PATIENT, ApiClient, running_api

pytestmark = pytest.mark.parts

DEADLINE_SECONDS = 60.0
LOOPBACK = "127.0.0.1"


class Held:
    """A connection of somebody who takes time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> bytes:
        """Read until the API ends the connection, which it must within the deadline."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    async def trickle(self, byte: bytes, pause_seconds: float = 0.05) -> None:
        """Send a byte now and then, until the API has had enough, which it must within the deadline."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            try:
                while not self._reader.at_eof():
                    self._writer.write(byte)
                    await self._writer.drain()
                    await asyncio.sleep(pause_seconds)
            except ConnectionError:
                return


@asynccontextmanager
async def held(api: ApiClient, *, local: str | None = None) -> AsyncIterator[Held]:
    """Open a connection, from a loopback address of one's own if wanted."""
    port = int(api.url.rpartition(":")[2])
    address = None if local is None else (local, 0)
    reader, writer = await asyncio.open_connection(LOOPBACK, port, local_addr=address)
    try:
        yield Held(reader, writer)
    finally:
        writer.close()


def impatient(**more: Any) -> dict[str, Any]:
    """Return settings by which clients have a second; a test that waits for an end may wait for a minute."""
    return {
        **GENEROUS,
        "api_head_timeout": "1s",
        "api_body_timeout": "1s",
        "api_unread_timeout": "1s",
        **more,
    }


async def is_served(api: ApiClient) -> bool:
    return (await api.call("GET", "/v1/whoami", Role.VIEWER)).status == 200


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: "])
async def test_half_a_head_is_not_waited_for(table: Table, temporal_env: WorkflowEnvironment, sent: bytes) -> None:
    async with running_api(table, temporal_env, **impatient()) as api, held(api) as slow:
        await slow.send(sent)
        assert await slow.answer() == b""
        assert await is_served(api)


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(
    table: Table, temporal_env: WorkflowEnvironment
) -> None:
    async with running_api(table, temporal_env, **impatient()) as api, held(api) as slow:
        await slow.send(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ")
        await slow.trickle(b"y")


async def test_nor_is_the_head_of_a_second_request(table: Table, temporal_env: WorkflowEnvironment) -> None:
    async with running_api(table, temporal_env, **impatient()) as api, held(api) as slow:
        await slow.send(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        await slow.trickle(b"G")


@pytest.mark.parametrize("declared", [b"content-length: 100", b"transfer-encoding: chunked"])
async def test_half_a_body_is_not_waited_for(table: Table, temporal_env: WorkflowEnvironment, declared: bytes) -> None:
    async with running_api(table, temporal_env, **impatient()) as api, held(api) as slow:
        token = (await api.token(Role.ADMIN)).encode()
        await slow.send(
            b"POST /v1/deployments HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer " + token + b"\r\n" + declared + b"\r\n\r\n",
        )
        answer = await slow.answer()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"BODY_TOO_SLOW" in answer
        assert b"connection: close" in answer.lower()


async def test_nobody_who_is_unknown_holds_the_form_to_log_in(table: Table, temporal_env: WorkflowEnvironment) -> None:
    async with running_api(table, temporal_env, **impatient()) as api, held(api) as slow:
        await slow.send(b"POST /login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\ntoken=")
        assert (await slow.answer()).startswith(b"HTTP/1.1 408 ")


async def test_a_body_must_come_at_a_rate(table: Table, temporal_env: WorkflowEnvironment) -> None:
    times = replace(PATIENT, body_grace=timedelta(seconds=1))
    given = impatient(api_body_timeout="1h")
    async with running_api(table, temporal_env, times, **given) as api, held(api) as slow:
        await slow.send(b"POST /login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\r\ntoken=")
        await slow.trickle(b"x")


async def test_a_body_that_comes_after_its_answer_does_not_hold_the_connection(
    table: Table, temporal_env: WorkflowEnvironment
) -> None:
    times = replace(PATIENT, unread_body_grace=timedelta(0))
    async with running_api(table, temporal_env, times, **impatient()) as api, held(api) as slow:
        # Nobody is known, so nobody reads the body before the answer.
        await slow.send(b"POST /v1/deployments HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\r\n")
        await slow.trickle(b"x")


async def test_whoever_reads_nothing_of_a_long_answer_is_left(table: Table, temporal_env: WorkflowEnvironment) -> None:
    async with running_api(table, temporal_env, **impatient()) as api:
        with socket.socket() as greedy:
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.connect((LOOPBACK, int(api.url.rpartition(":")[2])))
            greedy.settimeout(DEADLINE_SECONDS)
            token = await api.token(Role.VIEWER)
            one = (
                f"GET /static/console.js HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\r\n".encode()
            )
            loop = asyncio.get_running_loop()
            greedy.setblocking(False)  # noqa: FBT003 - the signature of sockets

            async def ask_without_reading() -> None:
                while True:
                    await loop.sock_sendall(greedy, one)
                    await asyncio.sleep(0)

            async with asyncio.timeout(DEADLINE_SECONDS):
                with pytest.raises(ConnectionError):
                    await ask_without_reading()
        assert await is_served(api)


async def test_a_stream_that_is_quiet_is_no_slow_client(table: Table, temporal_env: WorkflowEnvironment) -> None:
    async with running_api(table, temporal_env, **impatient()) as api:
        headers = {"authorization": f"Bearer {await api.token(Role.VIEWER)}"}
        async with api.session.get(f"{api.url}/v1/stream", headers=headers) as stream:
            await stream.content.readuntil(b"\n\n")
            async with held(api) as slow:
                # When this one is ended the time of the stream would be up too.
                assert await slow.answer() == b""
            async with held(api) as slow:
                assert await slow.answer() == b""
            assert not stream.content.at_eof()
            assert not stream.closed


async def test_one_address_leaves_room_for_others(table: Table, temporal_env: WorkflowEnvironment) -> None:
    given = {**GENEROUS, "api_max_connections": 8, "api_head_timeout": "1h"}
    async with running_api(table, temporal_env, **given) as api:
        token = await api.token(Role.VIEWER)
        attackers = [held(api, local="127.0.0.2") for _ in range(12)]
        opened = [await one.__aenter__() for one in attackers]
        try:
            answers = await asyncio.gather(*(one.answer() for one in opened[4:]))
            assert all(b"503 Service Unavailable" in answer for answer in answers)
            assert (await api.call("GET", "/v1/whoami", token=token)).status == 200
        finally:
            for one in attackers:
                await one.__aexit__(None, None, None)


async def test_a_connection_that_does_nothing_makes_room_for_one_that_asks(
    table: Table, temporal_env: WorkflowEnvironment
) -> None:
    given = {**GENEROUS, "api_max_connections": 4, "api_head_timeout": "1h", "trusted_proxies": "127.0.0.0/8"}
    async with running_api(table, temporal_env, **given) as api:
        token = await api.token(Role.VIEWER)
        attackers = [held(api, local=f"127.0.0.{n + 2}") for n in range(8)]
        opened = [await one.__aenter__() for one in attackers]
        try:
            assert (await api.call("GET", "/v1/whoami", token=token)).status == 200
            # The first ones have waited longest.
            assert await opened[0].answer() == b""
        finally:
            for one in attackers:
                await one.__aexit__(None, None, None)


async def test_a_request_that_runs_is_not_ended_for_a_newcomer(table: Table, temporal_env: WorkflowEnvironment) -> None:
    given = {**GENEROUS, "api_max_connections": 2, "trusted_proxies": "127.0.0.0/8"}
    async with running_api(table, temporal_env, **given) as api:
        headers = {"authorization": f"Bearer {await api.token(Role.VIEWER)}"}
        async with (
            api.session.get(f"{api.url}/v1/stream", headers=headers) as first,
            api.session.get(f"{api.url}/v1/stream", headers=headers) as second,
        ):
            await first.content.readuntil(b"\n\n")
            await second.content.readuntil(b"\n\n")
            async with held(api) as third:
                assert b"503 Service Unavailable" in await third.answer()
            assert not first.closed
            assert not second.closed


def test_there_are_no_more_connections_than_files_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1024))
    assert possible_connections(1000) == 192
    assert possible_connections(100) == 100
    settings = ApiSettings(database_url="postgresql+asyncpg://x/y")
    assert limits_of(settings).connections == 192
    assert limits_of(settings).connections_per_address == 96
