"""``python -m tests.chaos``: run the matrix of deaths, print its table, write its cells as JSON.

Ends with status 1 when a cell did not end as it must.
"""

import argparse
import asyncio
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from tests.chaos.faults import FAULTS, Fault
from tests.chaos.matrix import ROUTERS, run_matrix
from tests.chaos.moments import MOMENTS, Moment
from tests.chaos.site import running_site
from tests.chaos.storm import STORM, Storm
from tests.chaos.verdict import Cell


def main() -> None:
    """Run what the arguments choose."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--fault", action="append", help="part of a fault's name; may be given again (default: all)")
    parser.add_argument("--moment", action="append", help="a moment's name; may be given again (default: all)")
    parser.add_argument("--storm-seconds", type=float, default=180.0, help="how long the storm lasts; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=1, help="of the storm's kills")
    parser.add_argument("--json", type=Path, default=Path("chaos.json"), help="where to write the cells")
    parser.add_argument("--keep", action="store_true", help="keep the stacks' directory")
    options = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    faults = [one for one in FAULTS if not options.fault or any(part in one.name for part in options.fault)]
    moments = [one for one in MOMENTS if not options.moment or one.name in options.moment]
    directory = Path(tempfile.mkdtemp(prefix="celadon-chaos-"))
    directory.chmod(0o711)
    try:
        cells = asyncio.run(_run(directory, faults, moments, options))
    finally:
        if not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(0 if all(cell.ok for cell in cells) else 1)


async def _run(
    directory: Path,
    faults: Sequence[Fault],
    moments: Sequence[Moment],
    options: argparse.Namespace,
) -> list[Cell]:
    began = time.monotonic()
    cells: list[Cell] = []
    _say(f"| fault | {' | '.join(one.name for one in moments)} | sent | cut | unreachable | none left | lost |")
    _say("|---" * (len(moments) + 6) + "|")
    async for fault, row in run_matrix(directory, faults, moments):
        cells += row
        _write(options.json, cells)
        by_moment = {cell.moment: cell for cell in row}
        shown = [_mark(by_moment.get(moment.name)) for moment in moments]
        _say(f"| {fault.name} | {' | '.join(shown)} | {' | '.join(_counts(row))} |")
    if options.storm_seconds:
        cells += await _storm(directory, options.storm_seconds, options.seed)
        _write(options.json, cells)
    failed = [cell for cell in cells if not cell.ok]
    for cell in failed:
        _say(f"\n{cell.fault}, {cell.moment}:\n  " + "\n  ".join(cell.problems))
    requests = sum(cell.requests.sent for cell in cells)
    minutes = (time.monotonic() - began) / 60
    _say(f"\n{len(cells)} cells, {len(failed)} failed, {requests} requests, {minutes:.1f} minutes")
    return cells


async def _storm(directory: Path, seconds: float, seed: int) -> list[Cell]:
    async with running_site(directory / "storm", routers=ROUTERS) as site:
        storm = Storm(site, seconds, seed)
        cells = await storm.run()
    kills = ", ".join(f"{name} {times}" for name, times in sorted(storm.kills.items()))
    _say(f"\n{STORM}, {seconds:g} s, seed {seed}: {kills}\n")
    _say("| deployment | rollouts | | sent | cut | unreachable | none left | lost |\n|---|---|---|---|---|---|---|---|")
    for cell in cells:
        _say(f"| {cell.moment} | {cell.outcome} | {_mark(cell)} | {' | '.join(_counts([cell]))} |")
    return cells


def _write(file: Path, cells: Sequence[Cell]) -> None:
    """Write what is known so far, so that a run that is broken off leaves its evidence."""
    file.write_text(json.dumps([cell.model_dump(mode="json") for cell in cells], indent=1), encoding="utf-8")


def _counts(cells: Sequence[Cell]) -> list[str]:
    kinds = ("sent", "cut", "unreachable", "none_left", "lost")
    return [str(sum(getattr(cell.requests, kind) for cell in cells)) for kind in kinds]


def _mark(cell: Cell | None) -> str:
    """Return how a cell ended, with the seconds from the strike until all was clean again."""
    if cell is None:
        return "-"
    return f"ok {cell.seconds:.0f} s" if cell.ok else f"**failed** {cell.seconds:.0f} s"


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
