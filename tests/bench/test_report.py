"""Figures as JSON and as Markdown."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench import BENCHES
from bench.report import Grid, Machine, Report, put_into, read_report, without_json

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def report() -> Report:
    """Return a report of one table."""
    return Report(
        bench="swap",
        command="python -m bench.swap",
        taken_at=datetime(2026, 3, 1, tzinfo=UTC),
        took_seconds=2.4,
        machine=Machine.this(),
        grids=(Grid(title="A table", rows=({"what": "one", "ms": 1.25, "times": 1000},)),),
    )


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "swap.json"
    file.write_text(report().model_dump_json())

    assert read_report(file) == report()


def test_a_page_gets_the_tables_between_its_marks_again_and_again() -> None:
    page = "before\n<!-- figures:swap -->\nold\n<!-- /figures:swap -->\nafter\n"

    once = put_into(page, [report()])

    assert "| what | ms | times |\n|---|---|---|\n| one | 1.25 | 1,000 |\n" in once
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert put_into(once, [report()]) == once


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the figures of 'swap'"):
        put_into("nothing here", [report()])


def test_the_page_on_performance_has_a_place_for_every_bench() -> None:
    page = PAGE.read_text(encoding="utf-8")

    for name in BENCHES:
        assert page.count(f"<!-- figures:{name} -->\n") == 1
        assert page.count(f"<!-- /figures:{name} -->\n") == 1


@pytest.mark.parts
def test_a_bench_as_a_command_writes_json_and_prints_its_table(tmp_path: Path) -> None:
    file = tmp_path / "swap.json"
    command = [sys.executable, "-m", "bench.swap", "--routes", "2", "--rounds", "1"]

    finished = subprocess.run([*command, "--json", str(file)], check=True, capture_output=True, text=True)

    assert "The switch transaction" in finished.stdout
    assert read_report(file).command == ".venv/bin/python -m bench.swap --routes 2 --rounds 1"


def test_a_command_is_kept_without_where_its_json_went() -> None:
    given = ["--rounds", "1", "--json", "there.json", "--routes", "2", "--json=elsewhere.json", "--json", "--flag"]

    assert without_json(given) == ["--rounds", "1", "--routes", "2", "--flag"]
