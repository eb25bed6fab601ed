"""Single requests by Python's own client: every connection is used again or closed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
import pytest_asyncio

from celadon.cli.access.http_requests import HttpRequests
from tests.provisioners.programs import until

SOON = timedelta(seconds=60)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass
class HoldingServer:
    """Answers each request once it may, and counts the connections that are open."""

    port: int = 0
    connections: int = 0
    opened: int = 0
    asked: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        self.connections += 1
        self.opened += 1
        try:
            while await reader.readline():
                while (await reader.readline()).strip():
                    pass
                self.asked += 1
                await self.may_answer.wait()
                writer.write(ANSWER)
        finally:
            self.connections -= 1
            writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[HoldingServer]:
    """Run a server."""
    made = HoldingServer()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as listening:
        made.port = listening.sockets[0].getsockname()[1]
        yield made


@pytest.fixture
def requests(server: HoldingServer) -> HttpRequests:
    """Return requests to the server."""
    return HttpRequests(f"http://127.0.0.1:{server.port}", {}, connecting=SOON)


async def ask(requests: HttpRequests) -> int:
    answer = await requests.send("GET", "/", headers={}, content=None, within=SOON)
    return answer.status


async def test_a_second_request_goes_over_the_same_connection(server: HoldingServer, requests: HttpRequests) -> None:
    server.may_answer.set()

    assert [await ask(requests), await ask(requests)] == [200, 200]
    assert server.opened == 1
    requests.close()
    await until(lambda: server.connections == 0)


async def test_of_requests_side_by_side_one_connection_is_kept(server: HoldingServer, requests: HttpRequests) -> None:
    asked = [asyncio.create_task(ask(requests)) for _ in range(3)]
    await until(lambda: server.asked == 3)
    server.may_answer.set()

    assert await asyncio.gather(*asked) == [200] * 3
    await until(lambda: server.connections == 1)
    requests.close()
    await until(lambda: server.connections == 0)


async def test_what_is_answered_behind_the_end_leaves_no_connection(
    server: HoldingServer, requests: HttpRequests
) -> None:
    asked = asyncio.create_task(ask(requests))
    await until(lambda: server.asked == 1)

    requests.close()
    server.may_answer.set()

    assert await asked == 200
    await until(lambda: server.connections == 0)


async def test_a_request_that_is_given_up_leaves_no_connection(server: HoldingServer, requests: HttpRequests) -> None:
    asked = asyncio.create_task(ask(requests))
    await until(lambda: server.asked == 1)

    asked.cancel()
    server.may_answer.set()

    await until(lambda: server.connections == 0)
    assert await ask(requests) == 200
    requests.close()
