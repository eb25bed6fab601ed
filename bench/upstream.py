"""A replica that says by its own clock when each request ended and when it was told to stop.

It speaks just enough HTTP for that, and starts in a tenth of a second. ``/health`` answers at once; any other path
answers with a stream that lasts for the ``seconds`` of its query. Events go to the log as JSON lines.
"""

import argparse
import asyncio
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

CHUNK_SECONDS: Final = 0.1
LAST_CHUNK: Final = b"done"


class UpstreamEvent(StrEnum):
    """What a replica takes down."""

    ENDED = "ended"
    """The last byte of an answer was handed to the kernel."""
    TOLD_TO_STOP = "told to stop"
    STOPPED = "stopped"


@dataclass(frozen=True)
class LoggedEvent:
    """One line of the log; the clock is the machine's monotonic one."""

    label: str
    event: UpstreamEvent
    at_ns: int


def read_log(file: Path) -> list[LoggedEvent]:
    """Return the events of all replicas that share a log."""
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [LoggedEvent(row["label"], UpstreamEvent(row["event"]), row["at_ns"]) for row in rows]


class _EventLog:
    """Appends a line at a time; a short line is written whole, also beside other replicas."""

    def __init__(self, label: str, file: Path | None) -> None:
        self._label = label
        self._file = None if file is None else os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(self, event: UpstreamEvent) -> None:
        """Write down that ``event`` happens now."""
        if self._file is not None:
            line = json.dumps(asdict(LoggedEvent(self._label, event, time.monotonic_ns())))
            os.write(self._file, f"{line}\n".encode())


async def _answer(log: _EventLog, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            target = urlsplit(head.split(b" ", 2)[1].decode())
            if target.path == "/health":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
                continue
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            end = time.monotonic() + float(parse_qs(target.query).get("seconds", ["0"])[0])
            while (remaining := end - time.monotonic()) > 0:
                _write_chunk(writer, b"more")
                await writer.drain()
                await asyncio.sleep(min(remaining, CHUNK_SECONDS))
            _write_chunk(writer, LAST_CHUNK)
            _write_chunk(writer, b"")
            await writer.drain()
            log.note(UpstreamEvent.ENDED)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def _write_chunk(writer: asyncio.StreamWriter, chunk: bytes) -> None:
    writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")


async def serve(host: str, port: int, label: str, file: Path | None) -> None:
    """Serve until SIGTERM, which ends it at once."""
    log = _EventLog(label, file)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    server = await asyncio.start_server(partial(_answer, log), host, port)
    async with server:
        await told.wait()
        log.note(UpstreamEvent.TOLD_TO_STOP)
    log.note(UpstreamEvent.STOPPED)


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--log", type=Path)
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.host, chosen.port, chosen.label, chosen.log))


if __name__ == "__main__":
    main()
