"""A request that runs longer than any test, unless somebody cuts it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.end_to_end.conftest import until
from tests.end_to_end.ledger_server import NUMBER_HEADER, WORK_HEADER

LONG = 0
"""Its number in ledgers; those of a load begin with 1."""


@asynccontextmanager
async def running_request(url: str, directory: Path) -> AsyncIterator["asyncio.Task[None]"]:
    """Have a request run until the block ends, unless somebody cuts it."""

    async def ask() -> None:
        async with aiohttp.ClientSession() as session:
            headers = {NUMBER_HEADER: str(LONG), WORK_HEADER: "600"}
            async with session.post(url, headers=headers, data=b"{}") as answer:
                await answer.read()

    def count() -> int:
        return sum(file.read_text().splitlines().count(f"begun {LONG}") for file in directory.glob("*.ledger"))

    before = count()
    task = asyncio.create_task(ask())

    async def begun() -> bool:
        return count() > before

    try:
        await until(begun, "the request runs")
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
