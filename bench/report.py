"""A bench's figures: as tables for people, as JSON for programs, as Markdown for ``docs/performance.md``.

    python -m bench.report bench/results/*.json
    python -m bench.report bench/results/*.json --into docs/performance.md

The second command replaces what stands in the page between the marks of each bench.
"""

import argparse
import asyncio
import os
import platform
import re
import shlex
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import psutil
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table as Lines

from bench.installed import compiled_once
from celadon.logs import log_to_stderr

Cell = str | int | float

_WIDTH: Final = 140
_GIB: Final = 1 << 30
_PRINTED: Final = "-"


class Grid(BaseModel):
    """One table; all rows have the same columns, in the same order."""

    model_config = ConfigDict(frozen=True)

    title: str
    rows: tuple[dict[str, Cell], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.rows[0]) if self.rows else ()


class Machine(BaseModel):
    """Where figures were taken."""

    model_config = ConfigDict(frozen=True)

    processor: str
    cores: int
    memory_gib: int
    system: str
    python: str
    load_before: float
    """The load average of one minute before the bench began: above 0.3 somebody else was at work."""

    @classmethod
    def this(cls) -> Self:
        """Describe this machine as it is now."""
        return cls(
            processor=_processor(),
            cores=os.cpu_count() or 1,
            memory_gib=round(psutil.virtual_memory().total / _GIB),
            system=_system(),
            python=platform.python_version(),
            load_before=round(os.getloadavg()[0], 2),
        )

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"{self.cores} cores of {self.processor}, {self.memory_gib} GiB, {self.system}, Python {self.python}; "
            f"load before the run {self.load_before:g}"
        )


class Report(BaseModel):
    """All that one run of a bench has found."""

    model_config = ConfigDict(frozen=True)

    bench: str
    command: str
    taken_at: datetime
    took_seconds: float
    machine: Machine
    grids: tuple[Grid, ...]

    def markdown(self) -> str:
        """Return the tables with the command that gives them."""
        head = (
            f"```\n{self.command}\n```\n\n"
            f"Taken on {self.taken_at:%Y-%m-%d} in {self.took_seconds:.0f} s on {self.machine}.\n"
        )
        return "\n".join((head, *(_markdown(grid) for grid in self.grids)))

    def show(self, console: Console) -> None:
        """Print the tables."""
        for grid in self.grids:
            lines = Lines(*grid.columns, title=grid.title, title_justify="left")
            for row in grid.rows:
                lines.add_row(*(_text(cell) for cell in row.values()))
            console.print(lines)


Measure = Callable[[argparse.Namespace], Coroutine[Any, Any, Sequence[Grid]]]


def run_bench(
    name: str, about: str | None, declare: Callable[[argparse.ArgumentParser], None], measure: Measure
) -> None:
    """Run a bench as a command: read its options, measure, print.

    Args:
        name: the bench's, as in ``python -m bench.NAME``.
        about: what ``--help`` tells.
        declare: adds the bench's own options.
        measure: does the work and returns the tables.

    """
    parser = argparse.ArgumentParser(
        prog=f"python -m bench.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    declare(parser)
    parser.add_argument("--json", nargs="?", const=_PRINTED, metavar="FILE", help="print JSON, or write it to FILE")
    chosen = parser.parse_args()
    log_to_stderr()
    command = shlex.join([".venv/bin/python", "-m", f"bench.{name}", *without_json(sys.argv[1:])])
    machine, began = Machine.this(), datetime.now(UTC)
    with compiled_once():
        grids = asyncio.run(measure(chosen))
    report = Report(
        bench=name,
        command=command,
        taken_at=began,
        took_seconds=round((datetime.now(UTC) - began).total_seconds(), 1),
        machine=machine,
        grids=tuple(grids),
    )
    written = report.model_dump_json(indent=1) + "\n"
    if chosen.json == _PRINTED:
        sys.stdout.write(written)
        return
    if chosen.json is not None:
        Path(chosen.json).write_text(written, encoding="utf-8")
    report.show(Console(width=_WIDTH))


def read_report(file: Path) -> Report:
    """Read what a bench has written with ``--json FILE``."""
    return Report.model_validate_json(file.read_bytes())


def put_into(page: str, reports: Sequence[Report]) -> str:
    """Return the page with each report's tables between its marks.

    Raises:
        ValueError: the page has no place for one of them.

    """
    for report in reports:
        begin, end = f"<!-- figures:{report.bench} -->", f"<!-- /figures:{report.bench} -->"
        place = re.compile(rf"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        if not place.search(page):
            raise ValueError(f"the page has no place for the figures of {report.bench!r}: write {begin} and {end}")
        filled = f"{begin}\n{report.markdown()}\n{end}"
        page = place.sub(lambda _found, filled=filled: filled, page)  # type: ignore[misc]
    return page


def _markdown(grid: Grid) -> str:
    head = f"| {' | '.join(grid.columns)} |\n|{'---|' * len(grid.columns)}\n"
    rows = "".join(f"| {' | '.join(_text(cell) for cell in row.values())} |\n" for row in grid.rows)
    return f"{grid.title}:\n\n{head}{rows}"


def _text(cell: Cell) -> str:
    match cell:
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:,.10g}"
        case _:
            return cell


def without_json(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without ``--json``, which says nothing of what was measured."""
    kept: list[str] = []
    rest = list(arguments)
    while rest:
        one = rest.pop(0)
        if one == "--json":
            if rest and not rest[0].startswith("-"):
                rest.pop(0)
        elif not one.startswith("--json="):
            kept.append(one)
    return kept


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def main() -> None:
    """Print reports as Markdown, or put them into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="what benches wrote with --json FILE")
    parser.add_argument("--into", type=Path, help="a page with marks, such as docs/performance.md")
    chosen = parser.parse_args()
    reports = [read_report(file) for file in chosen.files]
    if chosen.into is None:
        print("\n".join(f"## {report.bench}\n\n{report.markdown()}" for report in reports))
    else:
        page: Path = chosen.into
        page.write_text(put_into(page.read_text(encoding="utf-8"), reports), encoding="utf-8")


if __name__ == "__main__":
    main()
