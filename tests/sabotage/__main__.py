"""``python -m tests.sabotage``: break every rule in a copy and print which test saw it."""

import argparse
import json
import queue
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.sabotage.catalogue import RULES, SABOTAGES, Sabotage
from tests.sabotage.runner import ROOT, Copy, Finding, Verdict, broken_content, run_unbroken, try_out


def main() -> int:
    """Return 1 when a sabotage survives, or when the tests are red without any."""
    options = _options()
    chosen = [one for one in SABOTAGES if not options.rule or one.rule in options.rule]
    console = Console(width=options.width)
    for sabotage in chosen:
        broken_content(sabotage, (ROOT / sabotage.file).read_text())
    with tempfile.TemporaryDirectory(prefix="celadon-sabotage-") as directory:
        copies = queue.SimpleQueue[Copy]()
        for number in range(options.jobs):
            home = Path(directory, str(number))
            home.mkdir()
            copies.put(Copy(home))
        red = _unbroken(copies, chosen)
        if red:
            console.print("red without any sabotage:", *sorted(red), sep="\n  ")
            return 1
        findings = _findings(copies, chosen, options.jobs, console)
    console.print(_table(findings))
    if options.json is not None:
        options.json.write_text(json.dumps([one.as_json() for one in findings], indent=1) + "\n")
    left = [one for one in findings if one.verdict is not Verdict.CAUGHT]
    for one in left:
        console.print(f"\n{one.verdict.value}: {one.sabotage.title} ({one.sabotage.file})\n{one.output}", markup=False)
    console.print(f"{len(findings) - len(left)} of {len(findings)} caught")
    return 1 if left else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sabotage", description=__doc__)
    parser.add_argument("--rule", type=int, action="append", choices=sorted(RULES), help="only this rule's")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (default: 2)")
    parser.add_argument("--json", type=Path, help="also write the findings to this file")
    parser.add_argument("--width", type=int, default=160, help="columns of the table (default: 160)")
    return parser.parse_args()


def _unbroken(copies: "queue.SimpleQueue[Copy]", chosen: Sequence[Sabotage]) -> frozenset[str]:
    copy = copies.get()
    try:
        return run_unbroken(copy, chosen)
    finally:
        copies.put(copy)


def _findings(
    copies: "queue.SimpleQueue[Copy]",
    chosen: Sequence[Sabotage],
    jobs: int,
    console: Console,
) -> list[Finding]:
    def try_one(sabotage: Sabotage) -> Finding:
        copy = copies.get()
        try:
            finding = try_out(copy, sabotage)
        finally:
            copies.put(copy)
        console.print(f"rule {sabotage.rule}: {sabotage.title}: {finding.verdict.value}", markup=False)
        return finding

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(try_one, chosen))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("rule", "sabotage", "file", "test that turned red", "seconds", "")
    for one in findings:
        red = "\n".join(test.rpartition("::")[2] for test in one.red)
        row = (str(one.sabotage.rule), one.sabotage.title, one.sabotage.file, red, f"{one.seconds:.1f}")
        table.add_row(*row, one.verdict.value)
    return table


if __name__ == "__main__":
    sys.exit(main())
