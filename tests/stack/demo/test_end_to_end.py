"""The demonstration as a whole, on real parts."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from celadon.stack.demo.demo import DemoOptions, run_demo
from celadon.stack.demo.records import read_records


@pytest.mark.stack
async def test_three_switches_under_load_lose_nothing(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = DemoOptions(
        json_lines=True,
        promote_after=timedelta(seconds=1),
        requests_per_second=50,
        data_dir=data_dir / "demo",
    )
    exit_code = await run_demo(options)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    summary = lines[-1]
    assert [line["text"] for line in lines if line.get("event") == "complaint"] == []
    assert exit_code == 0
    assert (summary["outcome"], summary["switches"]) == ("promoted", 3)
    lost = ("failed", "wrong_revision", "truncated", "requests_cut")
    assert {name: summary[name] for name in lost} == dict.fromkeys(lost, 0)
    assert summary["requests"] == len(list(read_records(data_dir / "demo" / "requests.jsonl")))
    assert None not in summary.values()
