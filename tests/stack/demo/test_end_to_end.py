"""The demonstration as a whole, on real parts."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from celadon.stack.demo.demo import DemoOptions, run_demo
from celadon.stack.demo.records import read_records
from tests.docs.demo_lines import lines_of_readme, normalised, printed_as_lines, shown_lines


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.stack
async def test_three_switches_under_load_lose_nothing(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # As root's home: root's Postgres, which cannot go there, lives elsewhere.
    private = data_dir / "home"
    private.mkdir(mode=0o700)
    options = DemoOptions(
        json_lines=True,
        promote_after=timedelta(seconds=1),
        requests_per_second=50,
        data_dir=private / "demo",
    )
    exit_code = await run_demo(options, data_dir / "celadon")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    summary = lines[-1]
    assert [line["text"] for line in lines if line.get("event") == "complaint"] == []
    assert exit_code == 0
    assert (summary["outcome"], summary["switches"]) == ("promoted", 3)
    lost = ("failed", "wrong_revision", "truncated", "requests_cut")
    assert {name: summary[name] for name in lost} == dict.fromkeys(lost, 0)
    assert summary["requests"] == len(list(read_records(private / "demo" / "requests.jsonl")))
    assert None not in summary.values()
    assert [normalised(line) for line in shown_lines(printed_as_lines(lines))] == [
        normalised(line) for line in lines_of_readme()
    ], "README shows what a demonstration no longer prints: see tests/docs/demo_lines.py"
    assert names_in(private / "demo") == {"celadon-demo", "lock", "logs", "requests.jsonl"}
    assert names_in(data_dir) == {private.name}
