"""Programs that tests run as replicas, and what tests ask about their processes."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psutil

from celadon.provisioners.claims import ROUTE_VARIABLE

DEADLINE_SECONDS = 60.0
"""Long enough for some starts of processes, one after the other, on a machine that others keep busy."""

SERVER = """
import http.server, os, pathlib, signal, sys, time
port, behaviour = int(sys.argv[1]), set(sys.argv[2:])
print("replica begins", flush=True)
if "stubborn" in behaviour:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "family" in behaviour:
    import subprocess
    nap = [sys.executable, "-c", "import time; time.sleep(120)"]
    subprocess.Popen(nap)
    subprocess.Popen(nap, start_new_session=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        sick = os.environ.get("SICK_FILE")
        is_sick = sick and (pathlib.Path(sick).exists() or pathlib.Path(f"{sick}.{port}").exists())
        self.send_response(500 if is_sick else 200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
"""An HTTP server, sick while the file ``SICK_FILE`` is there, or one of that name with its port after it.

``stubborn`` ignores SIGTERM, ``family`` has a child in its session and one in another.
"""

T = TypeVar("T")


def server(*behaviour: str) -> tuple[str, ...]:
    """Return the command of a replica that serves."""
    return (sys.executable, "-S", "-c", SERVER, "{port}", *behaviour)


def script(code: str) -> tuple[str, ...]:
    """Return the command of a replica that runs some Python."""
    return (sys.executable, "-S", "-c", code)


def processes_of(route: str) -> set[int]:
    """Return the processes that belong to a replica by their environment and have not ended."""
    found: set[int] = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(ROUTE_VARIABLE) == route and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds, or what it awaits; raise ``TimeoutError`` when it does not in time."""

    async def holds() -> bool | None:
        answer = condition()
        return bool(await answer if isinstance(answer, Awaitable) else answer) or None

    await until_found(holds)


async def until_found(query: Callable[[], Awaitable[T | None]]) -> T:
    """Wait until ``query`` finds something and return that; raise ``TimeoutError`` when it does not in time."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            found = await query()
            if found is not None:
                return found
            await asyncio.sleep(0.02)
