"""How long the command line takes, against an interpreter that does nothing.

``celadon promote`` and ``celadon rollout status`` go through the API of a whole local stack; ``python -c pass`` is
started in turn with them. Processor time is that of the command's process alone, and differs least on a busy machine.
A second table shows what of it the libraries take that every command stands on.

    python -m bench.cli --rounds 20
    python -m bench.cli --libraries
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.figures import percentile
from bench.line import Line, model_server, rollout_request, running_line
from bench.report import Cell, Grid, run_bench
from celadon.cli.target import TOKEN_VARIABLE, URL_VARIABLE
from celadon.domain.language.commands import AbortCommand
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.states import RolloutOutcome
from celadon.stack.environment import inherited_environment

NAME: Final = "commanded"
NOTHING: Final = "python -c pass"
STATUS: Final = "celadon rollout status"
PROMOTE: Final = "celadon promote"
COMMANDS: Final = {
    NOTHING: ("-c", "pass"),
    STATUS: ("-m", "celadon", "rollout", "status", NAME),
    PROMOTE: ("-m", "celadon", "promote", NAME),
}
_MODEL: Final = "import pydantic\nclass Model(pydantic.BaseModel):\n    name: str = ''\n"
LIBRARIES: Final = {
    NOTHING: ("-c", "pass"),
    "import asyncio": ("-c", "import asyncio"),
    "import http.client, ssl": ("-c", "import http.client, ssl"),
    "import typer": ("-c", "import typer"),
    "import pydantic, and one model": ("-c", _MODEL),
    "all of these": ("-c", f"import asyncio, http.client, ssl, typer\n{_MODEL}"),
}
"""What every command loads that goes through the API, whatever it does."""


@dataclass(frozen=True)
class _Taken:
    """What one run took."""

    milliseconds: float
    cpu_milliseconds: float


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> _Taken:
    """Run a Python program to its end.

    Raises:
        RuntimeError: it failed, with what it said.

    """
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - one of our own commands
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if process.stderr is None:
        raise RuntimeError("the program has no standard error")
    with process.stderr as stream:
        told = stream.read()
    _, status, used = os.wait4(process.pid, 0)
    ended = time.perf_counter()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed: {told}")
    return _Taken((ended - began) * 1000, (used.ru_utime + used.ru_stime) * 1000)


def _request(label: str) -> RolloutRequest:
    return rollout_request(NAME, 1, model_server(label), auto_promote=False, bake="10m")


async def _round(line: Line, environment: Mapping[str, str]) -> dict[str, _Taken]:
    """Run each command once, with a rollout that waits for its promotion."""
    await line.begin(_request("r2"))
    taken = {name: await asyncio.to_thread(_run, arguments, environment) for name, arguments in COMMANDS.items()}
    await line.rollouts.rollback(NAME, AbortCommand(by="bench"))
    await line.end(NAME, RolloutOutcome.ROLLED_BACK)
    return taken


async def measure_on(line: Line, rounds: int) -> Grid:
    """Measure on one stack."""
    token_file = line.addresses.admin_token_file
    if token_file is None:
        raise RuntimeError("the stack has no API")
    await line.go_live(_request("r1"))
    environment = inherited_environment(
        {
            URL_VARIABLE: line.addresses.api,
            TOKEN_VARIABLE: token_file.read_text(encoding="utf-8").strip(),
        },
    )
    await _round(line, environment)
    taken = [await _round(line, environment) for _ in range(rounds)]
    return Grid(title="Commands through the API, until they return", rows=_rows("command", taken))


async def measure_libraries(rounds: int) -> Grid:
    """Measure what the libraries of every command take to load, in turn."""
    environment = inherited_environment({})
    taken = [
        {name: await asyncio.to_thread(_run, arguments, environment) for name, arguments in LIBRARIES.items()}
        for _ in range(rounds)
    ]
    return Grid(title="What the libraries take on which every command stands", rows=_rows("program", taken))


def _rows(what: str, taken: Sequence[Mapping[str, _Taken]]) -> tuple[dict[str, Cell], ...]:
    """Return a row for each program, in the order in which they ran, beside the program that does nothing."""
    nothing = _medians([one[NOTHING] for one in taken])
    rows: list[dict[str, Cell]] = []
    for name in taken[0]:
        runs = [one[name] for one in taken]
        median, cpu = _medians(runs)
        rows.append(
            {
                what: name,
                "times": len(runs),
                "median ms": round(median, 1),
                "p99 ms": round(percentile([one.milliseconds for one in runs], 0.99), 1),
                "median CPU ms": round(cpu, 1),
                f"ms of {NOTHING}": round(median / nothing[0], 1),
                f"CPU ms of {NOTHING}": round(cpu / nothing[1], 1),
            },
        )
    return tuple(rows)


def _medians(runs: Sequence[_Taken]) -> tuple[float, float]:
    return (
        statistics.median(one.milliseconds for one in runs),
        statistics.median(one.cpu_milliseconds for one in runs),
    )


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure on a stack of its own; what the libraries take needs none."""
    if chosen.libraries:
        return [await measure_libraries(chosen.rounds)]
    async with running_line() as line:
        commands = await measure_on(line, chosen.rounds)
    return [commands, await measure_libraries(chosen.rounds)]


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--libraries", action="store_true", help="Measure only what the libraries take.")


if __name__ == "__main__":
    run_bench("cli", __doc__, declare, measure)
