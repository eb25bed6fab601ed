"""A running stack as the matrix sees it: from outside, through its table, its doors and its processes."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, Unpack

import aiohttp
import psutil
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from celadon.client.rollouts import RolloutClient
from celadon.stack.access import signer_of
from celadon.stack.addresses import StackAddresses
from celadon.stack.probes import answers_ok
from celadon.stack.process import NotReadyError
from celadon.stack.process_counts import ProcessCountChoice
from celadon.stack.router import ADMIN_URL
from celadon.table.core.engine import Table
from celadon.table.core.outages import TABLE_OUTAGES
from tests.chaos.replica import ROUTE_VARIABLE
from tests.stack.stack_process import stack_process

POLL_SECONDS: Final = 0.1
_LOG_LINES: Final = 60

T = TypeVar("T")


class NotReachedError(Exception):
    """Something that should have come about did not, in all the time it had."""


@dataclass
class Site:
    """One stack, and a directory for what its replicas and the load write."""

    addresses: StackAddresses
    table: Table
    temporal: Client
    web: aiohttp.ClientSession
    directory: Path
    rollouts: RolloutClient = field(init=False)

    def __post_init__(self) -> None:
        """Make the directories."""
        self.rollouts = RolloutClient(self.temporal, signer_of(self.addresses))
        self.journals.mkdir(parents=True)
        self.gates.mkdir()

    @property
    def journals(self) -> Path:
        """One file a replica: which requests it began and ended."""
        return self.directory / "journals"

    @property
    def gates(self) -> Path:
        """Files whose existence lets something go on."""
        return self.directory / "gates"

    async def read(self, query: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Read the table, again until it answers: whoever kills Postgres has to wait for it too."""
        while True:
            try:
                async with self.table.transaction() as tx:
                    return await query(tx)
            except TABLE_OUTAGES:
                await asyncio.sleep(POLL_SECONDS)

    async def rows(self, statement: str, **values: Any) -> Sequence[Mapping[str, Any]]:
        """Return the rows of a query."""

        async def query(tx: AsyncSession) -> Sequence[Mapping[str, Any]]:
            return [dict(row) for row in (await tx.execute(text(statement), values)).mappings()]

        return await self.read(query)

    def children(self) -> dict[str, int]:
        """Return the processes of the stack that run now, by name."""
        return StackAddresses.of_running(self.addresses.data_dir).children

    async def until_back(self, before: Mapping[str, int], seconds: float) -> None:
        """Wait until each of these children runs as another process than before."""

        async def replaced() -> bool:
            now = self.children()
            return all(now.get(name, pid) != pid for name, pid in before.items())

        await until(replaced, f"{', '.join(before)} started again", seconds)

    async def until_routers_serve(self, seconds: float) -> None:
        """Wait until every router says that it is ready."""

        async def ready() -> bool:
            with suppress(NotReadyError):
                for router in self.addresses.routers:
                    await answers_ok(f"{ADMIN_URL}/ready", router.admin)()
                return True
            return False

        await until(ready, "every router is ready", seconds)

    async def until_healthy(self, seconds: float = 60.0) -> None:
        """Let everything of the stack run, and wait until it does."""
        for pid in self.children().values():
            for process in with_children(pid):
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)
        names = set(self.addresses.children)

        async def whole() -> bool:
            alive = await self.rows("select 1 from keepers where seen_at > clock_timestamp() - interval '3 seconds'")
            return bool(alive) and names <= set(self.children())

        await until(whole, "the stack is whole and a keeper holds the lease", seconds)
        await self.until_routers_serve(seconds)

    def log_tail(self, child: str, word: str) -> list[str]:
        """Return the last lines of a child's log that contain a word."""
        file = self.addresses.data_dir / "logs" / f"{child}.log"
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
        return [line for line in lines if word in line][-_LOG_LINES:]

    def running_on(self, routes: Iterable[str]) -> frozenset[str]:
        """Return the requests that replicas began and did not end, by their journals."""
        return frozenset(number for route in routes for number in self._journal(route))

    def _journal(self, route: str) -> set[str]:
        file = self.journals / route
        running: set[str] = set()
        for line in file.read_text(encoding="ascii").splitlines() if file.exists() else ():
            event, _, number = line.partition(" ")
            (running.add if event == "began" else running.discard)(number)
        return running


@asynccontextmanager
async def running_site(directory: Path, **shape: Unpack[ProcessCountChoice]) -> AsyncIterator[Site]:
    """Run a stack of a shape with all its parts in ``directory``."""
    directory.mkdir(mode=0o711)  # noqa: ASYNC240 - nothing runs yet that it could delay
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(stack_process(directory / "stack", **shape))
        addresses = await process.until_ready()
        table = await stack.enter_async_context(Table(addresses.database_url, "celadon-chaos", pool_size=8))
        web = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)))
        temporal = await Client.connect(addresses.temporal_address, data_converter=pydantic_data_converter)
        yield Site(addresses, table, temporal, web, directory / "site")


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float) -> None:
    """Wait for a condition.

    Raises:
        NotReachedError: it did not come about within ``seconds``.

    """
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise NotReachedError(f"waited {seconds:g} s in vain: {what}")
        await asyncio.sleep(POLL_SECONDS)


def with_children(pid: int) -> list[psutil.Process]:
    """Return a process and all below it; nothing when it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def replica_processes() -> dict[str, list[int]]:
    """Return the processes of all replicas of this machine by their route."""
    found: dict[str, list[int]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and (route := process.environ().get(ROUTE_VARIABLE)):
                found.setdefault(route, []).append(process.pid)
    return found


def kill(pid: int) -> None:
    """End a process at once."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def as_json(value: object) -> Any:
    """Return a value as JSON has it, whatever it holds."""
    return json.loads(json.dumps(value, default=str))
