"""The load as a process of its own (``python -m celadon.stack.demo.load``), so that nothing else delays a request.

It reads commands from its standard input, one a line, and writes its counts to its standard output as JSON lines, four
times a second. It ends when it is told to stop, after its longest time, or at once when its standard input is closed,
because then nobody is left to stop it.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from celadon.stack.demo.generator import LoadGenerator, LoadOptions

COUNTS_INTERVAL: Final = timedelta(milliseconds=250)
FINISH_TIMEOUT: Final = timedelta(seconds=45)
"""How long running requests may still run once the load has been told to stop."""

WRITE_BUFFER_BYTES: Final = 1 << 20


class Command(StrEnum):
    """What the load can be told on its standard input."""

    STOP_STREAMS = "stop-streams"
    """Begin no new stream; plain requests go on."""
    STOP = "stop"
    """Send nothing more, and end when the running requests have ended."""


async def run_load(options: LoadOptions, records: Path, longest: timedelta) -> None:
    """Send requests until told to stop, at the latest after ``longest``."""
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    with records.open("w", buffering=WRITE_BUFFER_BYTES, encoding="utf-8") as lines:
        generator = LoadGenerator(options, lines)
        telling = asyncio.create_task(_tell_counts(generator))
        try:
            async with asyncio.timeout(longest.total_seconds()):
                parent_lives = await _obey(commands, generator)
        except TimeoutError:
            parent_lives = True
        await generator.finish(FINISH_TIMEOUT if parent_lives else timedelta(0))
        telling.cancel()
    if parent_lives:
        _write_counts(generator)


async def _obey(commands: asyncio.StreamReader, generator: LoadGenerator) -> bool:
    """Obey commands until told to stop; return false when nobody is left to give any."""
    async for line in commands:
        match Command(line.decode().strip()):
            case Command.STOP_STREAMS:
                generator.stop_streams()
            case Command.STOP:
                return True
    return False


async def _tell_counts(generator: LoadGenerator) -> None:
    while True:
        _write_counts(generator)
        await asyncio.sleep(COUNTS_INTERVAL.total_seconds())


def _write_counts(generator: LoadGenerator) -> None:
    sys.stdout.write(generator.counts().model_dump_json() + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the load as the command line says."""
    parser = argparse.ArgumentParser(prog="load", description="An open-loop load for an OpenAI API.")
    parser.add_argument("--base-url", required=True, help="as an OpenAI client takes it, ending with /v1")
    parser.add_argument("--records", type=Path, required=True, help="where the JSON line of each request goes")
    parser.add_argument("--requests-per-second", type=float, default=200.0)
    parser.add_argument("--streams", type=int, default=20, help="how many streams are open at any time, at least")
    parser.add_argument("--stream-seconds", type=float, default=10.5)
    parser.add_argument("--token-interval-seconds", type=float, default=0.2, help="the server's pause between tokens")
    parser.add_argument("--answer-timeout-seconds", type=float, default=15.0, help="the longest silence of a server")
    parser.add_argument("--longest-seconds", type=float, default=3600.0, help="stop after this time in any case")
    parser.add_argument("--calls-per-second", type=float, default=0.0, help="calls of gRPC; none unless given")
    parser.add_argument("--router", default="", help="host:port, for calls of gRPC")
    parser.add_argument("--deployment", default="", help="which deployment they address")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    asyncio.run(
        run_load(
            LoadOptions(
                base_url=options.base_url,
                requests_per_second=options.requests_per_second,
                streams=options.streams,
                stream_duration=timedelta(seconds=options.stream_seconds),
                token_interval=timedelta(seconds=options.token_interval_seconds),
                answer_timeout=timedelta(seconds=options.answer_timeout_seconds),
                seed=options.seed,
                calls_per_second=options.calls_per_second,
                router=options.router,
                deployment=options.deployment,
            ),
            records=options.records,
            longest=timedelta(seconds=options.longest_seconds),
        ),
    )


if __name__ == "__main__":
    main()
