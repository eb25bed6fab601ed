"""A replica that serves gRPC beside HTTP, and writes down each call, so that a test knows what ran twice.

``python -m tests.end_to_end.grpc_server PORT GRPC_PORT LABEL DIRECTORY``. The ledger of a process outlives it: a line
for each call that has begun, in ``DIRECTORY/LABEL-PID.ledger``.
"""

import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from tests.gateway.grpc_replica import Context, GrpcReplica


class LedgerReplica(GrpcReplica):
    """One replica."""

    def __init__(self, port: int, grpc_port: int, label: str, directory: Path) -> None:
        """Open the ledger of this process."""
        super().__init__(label)
        self.port, self.grpc_port = port, grpc_port
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY
        self._ledger = os.open(directory / f"{label}-{os.getpid()}.ledger", flags, 0o644)

    async def _generate(self, request: bytes, context: Context) -> bytes:
        # One unbuffered write, so that a SIGKILL between two lines loses none.
        os.write(self._ledger, request + b"\n")
        return await super()._generate(request, context)


def begun_calls(directory: Path) -> Counter[int]:
    """Return how often each call has begun, on whatever replica."""
    return Counter(int(line) for file in directory.glob("*.ledger") for line in file.read_text().splitlines())


def grpc_revision(directory: Path, label: str) -> dict[str, object]:
    """Return a revision whose replicas keep ledgers in ``directory``."""
    return {
        "command": [sys.executable, "-m", __spec__.name, "{port}", "{port.grpc}", label, str(directory)],
        "ports": {"http": "http1", "grpc": "h2c"},
        "env": {"PYTHONPATH": str(Path(__file__).parents[2])},
        "health_check": {"path": "/health", "interval": "200ms", "timeout": "5s"},
        "termination_grace": "1s",
    }


async def serve(replica: LedgerReplica) -> None:
    """Serve until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with replica.listening():
        await ended.wait()


def main() -> None:
    """Serve on the ports of the command line."""
    port, grpc_port, label, directory = sys.argv[1:]
    asyncio.run(serve(LedgerReplica(int(port), int(grpc_port), label, Path(directory))))


if __name__ == "__main__":
    main()
