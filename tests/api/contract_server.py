"""An API in a thread of its own, for a client that blocks."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from celadon.api.process import api_of, limits_of, listening_on, serve
from celadon.api.settings import ApiSettings
from celadon.domain.language.permissions import Role
from celadon.gateway.addresses import SocketAddress
from celadon.table.access.tokens import NewToken, create_token
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from tests.api.conftest import GENEROUS
from tests.table.rows import Rows


@dataclass(frozen=True)
class ContractServer:
    """Where the API is, and an admin's token."""

    url: str
    token: str


@contextmanager
def contract_server(database_url: str, temporal_address: str) -> Iterator[ContractServer]:
    """Serve a table with one deployment until the block ends."""
    ready: list[ContractServer] = []
    came_up = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def work() -> None:
        temporal = await Client.connect(temporal_address, data_converter=pydantic_data_converter)
        async with Table(database_url, "celadon-contract") as table, Listener(database_url, "contract") as listener:
            rows = await Rows.with_keeper(table)
            await rows.live(deployment="chat", labels={"team": "search"})
            await rows.router("edge-1", 1)
            wanted = NewToken(name="contract", roles=(Role.ADMIN,), scope={}, created_by="tests")
            async with table.transaction() as tx:
                _, token = await create_token(tx, wanted)
            settings = ApiSettings(database_url=database_url, **GENEROUS)
            app = api_of(settings, table, listener, temporal)
            with await listening_on(SocketAddress.model_construct(host="127.0.0.1", port=0)) as listening:
                ready.append(ContractServer(f"http://127.0.0.1:{listening.getsockname()[1]}", token))
                came_up.set()
                await serve(app, listening, stop, limits_of(settings))

    def run() -> None:
        try:
            loop.run_until_complete(work())
        finally:
            came_up.set()
            loop.close()

    thread = threading.Thread(target=run, name="contract-server")
    thread.start()
    came_up.wait()
    try:
        assert ready, "the API did not start"
        yield ready[0]
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join()
