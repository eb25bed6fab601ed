"""Starts our model server as a process."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp

from celadon.stack.environment import python_environment
from celadon.stack.ports import choose_ports

START_TIMEOUT_SECONDS = 60.0


class ModelProcess:
    """A running model server."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, grpc_port: int) -> None:
        """Hold a process that listens on these ports or soon will."""
        self.process = process
        self.port = port
        self.grpc_port = grpc_port

    @property
    def base_url(self) -> str:
        """Return the address as an OpenAI client takes it."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def health(self) -> int:
        """Return the status of ``/health``."""
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}/health") as response:
            return response.status

    async def wait_until_listening(self) -> None:
        """Wait until it accepts connections."""
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return

    async def wait_until_loaded(self) -> None:
        """Wait until it is healthy."""
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            while await self.health() != HTTPStatus.OK:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running_model_server(
    *,
    revision_label: str,
    load_seconds: float = 0.0,
    token_interval_seconds: float = 0.01,
    while_process: int | None = None,
) -> AsyncIterator[ModelProcess]:
    """Run a model server on a free port; it listens when this yields."""
    ports = choose_ports(["http", "grpc"], {})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "celadon.stack.demo.model_server"),
        *("--port", str(ports["http"]), "--grpc-port", str(ports["grpc"])),
        *("--revision-label", revision_label),
        *("--load-seconds", str(load_seconds)),
        *("--token-interval-seconds", str(token_interval_seconds)),
        *(() if while_process is None else ("--while-process", str(while_process))),
        env=python_environment({}),
        stdout=asyncio.subprocess.DEVNULL,
    )
    server = ModelProcess(process, ports["http"], ports["grpc"])
    try:
        await server.wait_until_listening()
        yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
