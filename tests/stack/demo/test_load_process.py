"""The load as a process of its own."""

import asyncio
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from celadon.stack.demo.generator import LoadCounts, LoadOptions
from celadon.stack.demo.load_process import LoadFailedError, LoadProcess, running_load
from celadon.stack.demo.records import RequestKind, RequestResult, read_records
from tests.stack.demo.model_processes import ModelProcess

pytestmark = pytest.mark.parts

LONGEST = timedelta(seconds=300)
PATIENCE_SECONDS = 60.0


def options_for(server: ModelProcess, *, stream_duration: timedelta = timedelta(milliseconds=300)) -> LoadOptions:
    return LoadOptions(
        base_url=server.base_url,
        requests_per_second=50,
        streams=4,
        stream_duration=stream_duration,
        token_interval=timedelta(milliseconds=10),
        seed=1,
        answer_timeout=timedelta(seconds=60),
    )


async def counts_with(load: LoadProcess, *, sent: int = 1) -> LoadCounts:
    """Wait until at least ``sent`` requests have left."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (counts := load.counts) is None or counts.sent < sent:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
        return counts


def load_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if is_load(child)]


def is_load(process: psutil.Process) -> bool:
    """Whether a process runs the load; one that has ended does not, even if nobody has waited for it."""
    try:
        return "celadon.stack.demo.load" in process.cmdline()
    except psutil.Error:
        return False


async def test_counts_come_while_it_runs_and_agree_with_the_records(model_server: ModelProcess, tmp_path: Path) -> None:
    records = tmp_path / "requests.jsonl"
    async with running_load(options_for(model_server), records, tmp_path / "load.log", LONGEST) as load:
        assert not (await counts_with(load, sent=20)).finished
        counts = await load.stop()
    assert counts.finished
    assert counts.sent == counts.ended == len(list(read_records(records)))
    assert counts.answered_by == {"r2": counts.sent}


async def test_no_stream_begins_after_streams_were_stopped(model_server: ModelProcess, tmp_path: Path) -> None:
    records = tmp_path / "requests.jsonl"
    async with running_load(options_for(model_server), records, tmp_path / "load.log", LONGEST) as load:
        # From here on streams are open at any time, until the load has heard that it shall begin none.
        told = await counts_with(load, sent=100)
        await load.stop_streams()
        await counts_with(load, sent=told.sent + 100)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (counts := load.counts) is None or counts.open_streams:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        sent = counts.sent
        await counts_with(load, sent=sent + 40)
        await load.stop()
    kinds = [record.kind for record in sorted(read_records(records), key=lambda record: record.number)]
    assert RequestKind.STREAM not in kinds[sent:]
    assert kinds.count(RequestKind.PLAIN) > 40


async def test_stop_lets_running_streams_end(model_server: ModelProcess, tmp_path: Path) -> None:
    records = tmp_path / "requests.jsonl"
    options = options_for(model_server, stream_duration=timedelta(seconds=1))
    async with running_load(options, records, tmp_path / "load.log", LONGEST) as load:
        await counts_with(load, sent=5)
        counts = await load.stop()
    assert (counts.failed, counts.truncated) == (0, 0)


async def test_a_load_that_died_is_not_taken_for_one_that_ended(model_server: ModelProcess, tmp_path: Path) -> None:
    log = tmp_path / "load.log"
    async with running_load(options_for(model_server), tmp_path / "requests.jsonl", log, LONGEST) as load:
        await counts_with(load)
        (process,) = load_processes()
        process.kill()
        with pytest.raises(LoadFailedError, match=r"load\.log"):
            await counts_with(load, sent=1_000_000)


async def test_no_process_is_left_when_its_owner_fails(model_server: ModelProcess, tmp_path: Path) -> None:
    records = tmp_path / "requests.jsonl"
    options = options_for(model_server, stream_duration=timedelta(seconds=20))

    async def fail() -> None:
        async with running_load(options, records, tmp_path / "load.log", LONGEST) as load:
            await counts_with(load, sent=5)
            raise RuntimeError("the owner failed")

    with pytest.raises(RuntimeError, match="the owner failed"):
        await fail()
    assert load_processes() == []
    assert {record.result for record in read_records(records) if record.kind is RequestKind.STREAM} == {
        RequestResult.TRUNCATED,
    }


async def test_it_ends_by_itself_after_its_longest_time(model_server: ModelProcess, tmp_path: Path) -> None:
    records = tmp_path / "requests.jsonl"
    async with running_load(options_for(model_server), records, tmp_path / "load.log", timedelta(seconds=2)) as load:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (counts := load.counts) is None or not counts.finished:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        assert await load.stop() == counts
    assert counts.sent == len(list(read_records(records))) > 0
