"""A replica that writes down each request when it begins and when it ends, so that a test knows what a death cut.

``python -m tests.end_to_end.ledger_server PORT LABEL DIRECTORY [SECONDS]``. The ledger of a process outlives it: lines
``begun N`` and ``ended N`` in ``DIRECTORY/PORT-PID.ledger``. It is sick while ``DIRECTORY/sick-LABEL`` or
``DIRECTORY/sick-PORT`` exists; it answers requests all the same. It is healthy only SECONDS after its start, and until
then answers 503. It ends at once while ``DIRECTORY/dead-LABEL`` exists.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from aiohttp import web

NUMBER_HEADER = "x-number"
WORK_HEADER = "x-work-seconds"


class LedgerServer:
    """One replica."""

    def __init__(self, port: int, label: str, directory: Path, loads_seconds: float) -> None:
        """Open the ledger of this process."""
        self._label = label
        self._sick = (directory / f"sick-{label}", directory / f"sick-{port}")
        self._ready_at = time.monotonic() + loads_seconds
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY
        self._ledger = os.open(directory / f"{port}-{os.getpid()}.ledger", flags, 0o644)

    def application(self) -> web.Application:
        """Return the HTTP application."""
        application = web.Application()
        application.router.add_get("/health", self._health)
        application.router.add_post("/work", self._work)
        return application

    async def _health(self, _request: web.Request) -> web.Response:
        sick = time.monotonic() < self._ready_at or any(file.exists() for file in self._sick)
        return web.Response(status=503 if sick else 200)

    async def _work(self, request: web.Request) -> web.Response:
        number = request.headers[NUMBER_HEADER]
        self._write(f"begun {number}")
        if time.monotonic() < self._ready_at:
            return web.Response(status=503)
        await asyncio.sleep(float(request.headers.get(WORK_HEADER, "0")))
        self._write(f"ended {number}")
        return web.Response(text=self._label)

    def _write(self, line: str) -> None:
        # One unbuffered write, so that a SIGKILL between two lines loses none.
        os.write(self._ledger, f"{line}\n".encode())


def count_begun(directory: Path, port: int) -> int:
    """Return how many requests the replicas on a port have begun."""
    return sum(file.read_text().count("begun") for file in directory.glob(f"{port}-*.ledger"))


def unended(directory: Path, pid: int) -> set[int]:
    """Return the numbers of the requests that a process has begun and not ended."""
    begun: set[int] = set()
    for file in directory.glob(f"*-{pid}.ledger"):
        for line in file.read_text().splitlines():
            what, number = line.split()
            (begun.add if what == "begun" else begun.discard)(int(number))
    return begun


def ledger_revision(directory: Path, label: str, *, loads_seconds: float = 0.0) -> dict[str, object]:
    """Return a revision whose replicas keep ledgers in ``directory``."""
    # A shell ends before anybody sees it run; an interpreter on a busy machine does not.
    unless_dead = 'test ! -e "$0" || { echo "this revision cannot start"; exit 1; }; exec "$@"'
    server = ["/bin/sh", "-c", unless_dead, str(directory / f"dead-{label}")]
    server += [sys.executable, "-m", __spec__.name, "{port}", label, str(directory), str(loads_seconds)]
    return {
        "command": server,
        "env": {"PYTHONPATH": str(Path(__file__).parents[2])},
        "health_check": {"path": "/health", "interval": "200ms", "timeout": "5s"},
        "termination_grace": "1s",
    }


def main() -> None:
    """Serve until SIGTERM."""
    port, label, directory, *loads = sys.argv[1:]
    server = LedgerServer(int(port), label, Path(directory), float(loads[0]) if loads else 0.0)
    web.run_app(server.application(), host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
