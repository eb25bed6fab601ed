"""A stack in a process of its own, as ``celadon up`` runs it.

``python -m tests.stack.stack_process DATA_DIR SHAPE [CHILD ...]`` runs the named children, or all, and prints the
addresses; SHAPE is a JSON object with the numbers of workers, gateways and routers, where there is not one of each.
"""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from celadon.logs import log_to_stderr
from celadon.stack.addresses import StackAddresses
from celadon.stack.children import stack_children
from celadon.stack.layout import DataDirectory
from celadon.stack.postgres_home import PostgresHome
from celadon.stack.process import ChildSpec
from celadon.stack.process_counts import ProcessCountChoice
from celadon.stack.settings import StackSettings
from celadon.stack.stack import Stack, run_stack
from celadon.standard_streams import lead_nowhere
from tests.stack.processes import DEADLINE_SECONDS

START_SECONDS = 120.0


@dataclass
class StackProcess:
    """A process that runs a stack."""

    process: asyncio.subprocess.Process
    data_dir: Path

    async def until_ready(self) -> StackAddresses:
        """Wait until the stack announces itself; fail with what it said when it ends instead."""
        assert self.process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            line = await self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the stack did not start:\n{await self.errors()}")
        return StackAddresses.model_validate_json(line)

    def addresses(self) -> StackAddresses:
        """Return what ``stack.json`` says now."""
        return StackAddresses.of_running(self.data_dir)

    async def errors(self) -> str:
        """Return what the stack wrote to its standard error; it must have ended."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit status."""
        if self.process.returncode is None:
            self.process.send_signal(with_signal)
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def stack_process(
    data_dir: Path,
    *names: str,
    **shape: Unpack[ProcessCountChoice],
) -> AsyncIterator[StackProcess]:
    """Run a stack in a process of its own, and stop it at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", __spec__.name, str(data_dir), json.dumps(shape), *names),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    stack = StackProcess(process, data_dir)
    try:
        yield stack
    finally:
        await stack.stop()


def main() -> None:
    """Run the stack that the arguments name."""
    log_to_stderr(logging.INFO)
    data_dir, shape, *names = sys.argv[1:]

    def chosen(
        directory: DataDirectory,
        settings: StackSettings,
        home: PostgresHome,
        working_directory: Path,
    ) -> tuple[ChildSpec, ...]:
        specs = stack_children(directory, settings, home, working_directory)
        return tuple(spec for spec in specs if not names or spec.name in names)

    def announce(addresses: StackAddresses) -> None:
        try:
            print(addresses.model_dump_json(), flush=True)  # noqa: T201
        except OSError:  # a test that found the addresses in the directory may have closed this already
            lead_nowhere(sys.stdout)

    stack = Stack(Path(data_dir), describe=chosen, **json.loads(shape))
    asyncio.run(run_stack(stack, announce))


if __name__ == "__main__":
    main()
