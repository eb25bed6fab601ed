"""Run benches one after another and keep their figures: ``python -m bench [NAME...]``.

Each prints its tables and leaves ``NAME.json`` in the directory of results; at the end all tables stand in
``tables.md`` beside them. Put them into the page with ``python -m bench.report --into docs/performance.md FILE...``.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from bench import BENCHES
from bench.report import read_report


def main() -> None:
    """Run those that were named, or all; exit with 1 when one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--results", type=Path, default=Path("bench/results"))
    chosen = parser.parse_args()
    results: Path = chosen.results
    results.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    for name in chosen.names or BENCHES:
        print(f"== {name}", flush=True)
        began = time.monotonic()
        finished = subprocess.run(  # noqa: S603 - one of our own modules
            [sys.executable, "-m", f"bench.{name}", "--json", str(results / f"{name}.json")],
            check=False,
        )
        print(f"== {name}: {time.monotonic() - began:.0f} s, exit code {finished.returncode}\n", flush=True)
        if finished.returncode:
            failed.append(name)
    files = [file for name in BENCHES if (file := results / f"{name}.json").exists()]
    tables = "\n".join(f"## {one.bench}\n\n{one.markdown()}" for one in map(read_report, files))
    (results / "tables.md").write_text(tables, encoding="utf-8")
    print(f"all tables: {results / 'tables.md'}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
