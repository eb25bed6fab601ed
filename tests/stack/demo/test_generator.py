"""The load generator against servers that behave and servers that do not, through a real router."""

import asyncio
import io
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import pytest

from celadon.stack.demo.counters import RouterAdmin, RouterCounters
from celadon.stack.demo.generator import LoadCounts, LoadGenerator, LoadOptions
from celadon.stack.demo.records import RequestKind, RequestRecord, RequestResult
from celadon.stack.demo.summary import counter_differences, tally
from celadon.stack.ports import choose_ports
from tests.stack.demo.faulty_server import Fault, running_faulty_server
from tests.stack.demo.model_processes import ModelProcess
from tests.stack.demo.static_router import CLUSTER, LISTENER, running_router

pytestmark = pytest.mark.parts

STREAMS = 4
FINISH = timedelta(seconds=60)
PATIENT = timedelta(seconds=60)
"""Longer than a server that answers is ever silent, also on a busy machine."""
BRIEF = timedelta(seconds=4)
"""For servers that fall silent: a test waits so long for each to be given up."""


@dataclass(frozen=True)
class LoadRun:
    """What a short load left behind."""

    counts: LoadCounts
    records: list[RequestRecord]

    def results(self, kind: RequestKind) -> set[RequestResult]:
        """Return the results of all requests of a kind."""
        return {record.result for record in self.records if record.kind is kind}


async def run_load(
    base_url: str,
    *,
    sent: int = 20,
    finish: timedelta = FINISH,
    answer_timeout: timedelta = PATIENT,
    calls_at: int | None = None,
) -> LoadRun:
    """Send at least so many requests, of both kinds, whatever becomes of them, and calls of gRPC to a port."""
    lines = io.StringIO()
    generator = LoadGenerator(
        LoadOptions(
            base_url=base_url,
            requests_per_second=30,
            streams=STREAMS,
            stream_duration=timedelta(milliseconds=300),
            token_interval=timedelta(milliseconds=10),
            seed=1,
            answer_timeout=answer_timeout,
            calls_per_second=0 if calls_at is None else 30,
            router=f"127.0.0.1:{calls_at}",
            deployment="chat",
        ),
        lines,
    )
    await until_sent(generator, sent)
    await generator.finish(finish)
    records = [RequestRecord.model_validate_json(line) for line in lines.getvalue().splitlines()]
    return LoadRun(generator.counts(), records)


async def until_sent(generator: LoadGenerator, count: int) -> None:
    """Wait until so many requests have left."""
    async with asyncio.timeout(FINISH.total_seconds()):
        while generator.counts().sent < count:  # noqa: ASYNC110 - it tells nobody of each
            await asyncio.sleep(0.01)


def timeout_for(fault: Fault) -> timedelta:
    """Return how long a load waits for a server with a fault; only silence is ended by it."""
    return BRIEF if fault in {Fault.FALLS_SILENT, Fault.FALLS_SILENT_IN_STREAM} else PATIENT


async def test_every_request_of_a_good_server_is_answered(model_server: ModelProcess) -> None:
    run = await run_load(model_server.base_url)
    assert run.counts.sent == run.counts.ended == len(run.records) == run.counts.answered_by["r2"]
    assert run.counts.finished
    assert {record.revision for record in run.records} == {"r2"}
    assert run.results(RequestKind.STREAM) == run.results(RequestKind.PLAIN) == {RequestResult.ANSWERED}


async def test_calls_of_grpc_are_sent_beside_and_answered(model_server: ModelProcess) -> None:
    run = await run_load(model_server.base_url, sent=60, calls_at=model_server.grpc_port)
    calls = [record for record in run.records if record.kind is RequestKind.CALL]
    assert len(calls) > 10
    assert {(record.result, record.status, record.revision) for record in calls} == {
        (RequestResult.ANSWERED, HTTPStatus.OK, "r2")
    }
    assert tally(run.records, ()).calls == len(calls)


async def test_calls_that_nobody_answers_have_failed() -> None:
    nobody = choose_ports(["nobody"], {})["nobody"]
    run = await run_load(f"http://127.0.0.1:{nobody}/v1", calls_at=nobody, answer_timeout=BRIEF)
    calls = [record for record in run.records if record.kind is RequestKind.CALL]
    assert {(record.result, record.status) for record in calls} == {(RequestResult.FAILED, None)}


async def test_moments_of_a_request_are_in_order(model_server: ModelProcess) -> None:
    run = await run_load(model_server.base_url)
    for record in run.records:
        assert record.first_byte_ns is not None
        assert record.scheduled_ns <= record.sent_ns < record.first_byte_ns <= record.end_ns


async def test_arrivals_do_not_wait_for_answers() -> None:
    async with running_faulty_server(Fault.FALLS_SILENT) as port:
        run = await run_load(f"http://127.0.0.1:{port}/v1", sent=60, finish=timedelta(milliseconds=50))
    assert {record.error for record in run.records} == {"did not end in time and was cut by the load generator"}
    assert sum(record.kind is RequestKind.PLAIN for record in run.records) > 15


async def test_requests_that_leave_late_are_counted_and_not_dropped(model_server: ModelProcess) -> None:
    lines = io.StringIO()
    generator = LoadGenerator(
        LoadOptions(
            base_url=model_server.base_url,
            requests_per_second=100,
            streams=0,
            stream_duration=timedelta(seconds=10),
            token_interval=timedelta(milliseconds=10),
            seed=1,
            answer_timeout=PATIENT,
        ),
        lines,
    )
    await asyncio.sleep(0.1)
    blocked_until = asyncio.get_running_loop().time() + 0.5
    while asyncio.get_running_loop().time() < blocked_until:
        pass
    await until_sent(generator, 60)
    await generator.finish(FINISH)
    records = [RequestRecord.model_validate_json(line) for line in lines.getvalue().splitlines()]
    late = [record for record in records if record.late]
    assert len(late) == generator.counts().late
    assert len(late) > 20
    assert len(records) > 50


FAULTS_OF_PLAIN_REQUESTS = {
    Fault.ANSWERS_500: "status 500",
    Fault.ANSWERS_NONSENSE: "no completion",
    Fault.CLOSES_BEFORE_ANSWER: "ServerDisconnectedError",
    Fault.CLOSES_IN_ANSWER: "ClientPayloadError",
    Fault.FALLS_SILENT: "Timeout",
}

FAULTS_OF_STREAMS = {
    Fault.ENDS_STREAM_EARLY: "without [DONE]",
    Fault.CLOSES_IN_STREAM: "ClientPayloadError",
    Fault.FALLS_SILENT_IN_STREAM: "Timeout",
}


@pytest.mark.parametrize(("fault", "error"), FAULTS_OF_PLAIN_REQUESTS.items())
async def test_each_fault_fails_every_plain_request(fault: Fault, error: str) -> None:
    async with running_faulty_server(fault) as port:
        run = await run_load(f"http://127.0.0.1:{port}/v1", answer_timeout=timeout_for(fault))
    plain = [record for record in run.records if record.kind is RequestKind.PLAIN]
    assert run.results(RequestKind.PLAIN) == {RequestResult.FAILED}
    assert all(record.error is not None and error in record.error for record in plain)
    assert run.counts.failed + run.counts.truncated == run.counts.sent == len(run.records)


@pytest.mark.parametrize(("fault", "error"), FAULTS_OF_STREAMS.items())
async def test_each_fault_truncates_every_stream(fault: Fault, error: str) -> None:
    async with running_faulty_server(fault) as port:
        run = await run_load(f"http://127.0.0.1:{port}/v1", answer_timeout=timeout_for(fault))
    streams = [record for record in run.records if record.kind is RequestKind.STREAM]
    assert run.results(RequestKind.STREAM) == {RequestResult.TRUNCATED}
    assert all(record.error is not None and error in record.error for record in streams)
    assert run.counts.truncated == len(streams)


async def test_stream_refused_by_the_server_counts_as_failed() -> None:
    async with running_faulty_server(Fault.ANSWERS_500) as port:
        run = await run_load(f"http://127.0.0.1:{port}/v1")
    assert run.results(RequestKind.STREAM) == {RequestResult.FAILED}


async def test_nobody_listening_fails_every_request_without_a_retry() -> None:
    port = choose_ports(["nobody"], {})["nobody"]
    run = await run_load(f"http://127.0.0.1:{port}/v1")
    assert run.counts.failed == run.counts.sent == len(run.records) > 0
    assert {record.status for record in run.records} == {None}


async def test_requests_that_never_end_are_cut_and_recorded() -> None:
    async with running_faulty_server(Fault.FALLS_SILENT) as port:
        run = await run_load(f"http://127.0.0.1:{port}/v1", finish=timedelta(milliseconds=50))
    assert run.counts.failed == run.counts.sent == len(run.records)
    assert all(record.error is not None and "did not end in time" in record.error for record in run.records)


async def count_through_router(
    folder: Path,
    *ports: int,
    answer_timeout: timedelta = PATIENT,
) -> tuple[LoadRun, RouterCounters]:
    async with running_router(folder, ports) as router:
        admin = RouterAdmin(router.admin, listener_prefix=LISTENER, clusters=[CLUSTER])
        before = await admin.read()
        run = await run_load(router.base_url, answer_timeout=answer_timeout)
        return run, await admin.read_when_idle(FINISH) - before


async def test_router_counts_what_the_load_counts(model_server: ModelProcess, tmp_path: Path) -> None:
    run, counted = await count_through_router(tmp_path, model_server.port)
    assert counted.requests == counted.requests_to_servers == len(run.records)
    assert counter_differences(tally(run.records, ()), counted, others=False) == ()


@pytest.mark.parametrize("fault", Fault)
async def test_losses_agree_with_the_router(fault: Fault, tmp_path: Path) -> None:
    async with running_faulty_server(fault) as port:
        run, counted = await count_through_router(tmp_path, port, answer_timeout=timeout_for(fault))
    tallied = tally(run.records, ())
    assert tallied.failed + tallied.truncated == len(run.records)
    assert counter_differences(tallied, counted, others=False) == ()


async def test_retries_of_refused_connections_agree_with_the_router(model_server: ModelProcess, tmp_path: Path) -> None:
    nobody = choose_ports(["nobody"], {})["nobody"]
    run, counted = await count_through_router(tmp_path, model_server.port, nobody)
    assert counted.retries > 0
    assert counter_differences(tally(run.records, ()), counted, others=False) == ()


async def test_a_request_that_the_load_did_not_record_is_a_difference(
    model_server: ModelProcess,
    tmp_path: Path,
) -> None:
    run, counted = await count_through_router(tmp_path, model_server.port)
    differences = counter_differences(tally(run.records[1:], ()), counted, others=False)
    assert len(differences) == 1
    assert "the load sent only" in differences[0]
