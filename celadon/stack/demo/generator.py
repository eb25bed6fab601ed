"""The load generator: sends each request when it is due, whatever became of those before, and retries nothing."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from http import HTTPStatus
from types import SimpleNamespace
from typing import Final, TextIO

import aiohttp
from pydantic import BaseModel, ConfigDict

from celadon.stack.demo.arrivals import Arrival, plain_arrivals, stream_arrivals
from celadon.stack.demo.grpc_model import GrpcModelClient
from celadon.stack.demo.model_server import MODEL, REVISION_HEADER
from celadon.stack.demo.records import RequestKind, RequestRecord, RequestResult

LATE_AFTER: Final = timedelta(milliseconds=20)
"""How long after its scheduled time a request may leave and still be on time."""

REQUEST_HEADER: Final = "x-load-request"
"""Names each request by seed and number, so that a replica can write down which requests it runs."""

EXCERPT_LENGTH: Final = 120
"""How many characters of an unexpected answer a record keeps."""


class LoadOptions(BaseModel):
    """What is sent, and where to."""

    model_config = ConfigDict(frozen=True)

    base_url: str
    """As an OpenAI client takes it, ending with ``/v1``."""
    requests_per_second: float
    streams: int
    """How many streams are open at any time, at least."""
    stream_duration: timedelta
    token_interval: timedelta
    """The server's pause between two tokens; says how many tokens make a stream last long enough."""
    seed: int
    answer_timeout: timedelta
    """The longest silence on a connection before its request has failed or its stream is truncated."""
    calls_per_second: float = 0.0
    """How many calls of gRPC are sent beside them."""
    router: str = ""
    """Where calls of gRPC go: ``host:port`` of a router."""
    deployment: str = ""
    """The deployment that they address."""


class LoadCounts(BaseModel):
    """What the load has done so far."""

    model_config = ConfigDict(frozen=True)

    sent: int
    ended: int
    late: int
    failed: int
    truncated: int
    open_streams: int
    answered_by: dict[str, int]
    """Answers by the label of the revision that gave them."""
    last_error: str | None
    finished: bool
    """True when the records are complete on disk."""


class LoadGenerator:
    """Sends plain requests, streams and calls of gRPC until stopped; writes a record for each request that has ended.

    Must be made inside a running event loop; the first request leaves at once.
    """

    def __init__(self, options: LoadOptions, records: TextIO) -> None:
        """Begin to send; ``records`` is written to and not closed."""
        self._records = records
        self._url = f"{options.base_url}/chat/completions"
        self._seed = options.seed
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_sent)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=options.answer_timeout.total_seconds()),
            trace_configs=[trace],
        )
        self._running: set[asyncio.Task[None]] = set()
        self._sent = 0
        self._ended = 0
        self._late = 0
        self._results: Counter[RequestResult] = Counter()
        self._answered_by: Counter[str] = Counter()
        self._open_streams = 0
        self._last_error: str | None = None
        self._finished = False
        plain = plain_arrivals(options.requests_per_second, options.seed)
        streams = stream_arrivals(options.streams, options.stream_duration, options.token_interval)
        self._grpc = GrpcModelClient(options.router, options.deployment) if options.calls_per_second else None
        self._answer_timeout = options.answer_timeout
        calls = plain_arrivals(options.calls_per_second, options.seed + 1) if options.calls_per_second else iter(())
        self._calls = _Schedule(calls, lambda tokens, due: self._start(RequestKind.CALL, tokens, due))
        self._plain = _Schedule(plain, lambda tokens, due: self._start(RequestKind.PLAIN, tokens, due))
        self._streams = _Schedule(streams, lambda tokens, due: self._start(RequestKind.STREAM, tokens, due))

    def counts(self) -> LoadCounts:
        """Return what has been done so far."""
        return LoadCounts(
            sent=self._sent,
            ended=self._ended,
            late=self._late,
            failed=self._results[RequestResult.FAILED],
            truncated=self._results[RequestResult.TRUNCATED],
            open_streams=self._open_streams,
            answered_by=dict(self._answered_by),
            last_error=self._last_error,
            finished=self._finished,
        )

    def stop_streams(self) -> None:
        """Begin no new stream; plain requests go on."""
        self._streams.stop()

    def stop(self) -> None:
        """Send nothing more; what runs goes on."""
        self._plain.stop()
        self._streams.stop()
        self._calls.stop()

    async def finish(self, timeout: timedelta) -> None:
        """Stop, wait for what runs, cut what is left after ``timeout`` and record it, and flush the records."""
        self.stop()
        if self._running:
            _, left = await asyncio.wait(self._running, timeout=timeout.total_seconds())
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        await self._session.close()
        if self._grpc is not None:
            await self._grpc.close()
        self._records.flush()
        self._finished = True

    def _start(self, kind: RequestKind, tokens: int, due_ns: int) -> None:
        exchange = _Exchange(self._sent, kind, due_ns)
        self._sent += 1
        run = self._call if kind is RequestKind.CALL else self._run
        task = asyncio.create_task(run(exchange, tokens))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, exchange: "_Exchange", tokens: int) -> None:
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Who answers?"}],
            "max_tokens": tokens,
            "stream": exchange.kind is RequestKind.STREAM,
        }
        error: str | None = None
        self._open_streams += exchange.kind is RequestKind.STREAM
        try:
            headers = {REQUEST_HEADER: request_name(self._seed, exchange.number)}
            async with self._session.post(
                self._url, json=body, headers=headers, trace_request_ctx=exchange
            ) as response:
                exchange.begin_answer(response)
                if response.status != HTTPStatus.OK:
                    text = await response.text(errors="replace")
                    error = f"status {response.status}: {text[:EXCERPT_LENGTH]}"
                elif exchange.kind is RequestKind.STREAM:
                    error = await _read_stream(response)
                else:
                    error = _check_answer(await response.read())
        except (aiohttp.ClientError, TimeoutError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        except asyncio.CancelledError:
            error = "did not end in time and was cut by the load generator"
        finally:
            self._open_streams -= exchange.kind is RequestKind.STREAM
        self._note(exchange.record(error))

    async def _call(self, exchange: "_Exchange", tokens: int) -> None:
        error: str | None = "there is no router for calls"
        try:
            if self._grpc is not None:
                timeout = self._answer_timeout.total_seconds()
                error = await self._grpc.generate(tokens, timeout, exchange.begin_call)
        except asyncio.CancelledError:
            error = "did not end in time and was cut by the load generator"
        if error is None:
            exchange.end_call()
        self._note(exchange.record(error))

    def _note(self, record: RequestRecord) -> None:
        self._records.write(record.model_dump_json() + "\n")
        self._ended += 1
        self._late += record.late
        self._results[record.result] += 1
        if record.result is RequestResult.ANSWERED:
            self._answered_by[record.revision or "unknown"] += 1
        else:
            self._last_error = record.error


class _Exchange:
    """One request on its way; filled in as the answer comes."""

    def __init__(self, number: int, kind: RequestKind, scheduled_ns: int) -> None:
        self.kind = kind
        self.sent_ns = time.monotonic_ns()
        self.number = number
        self._scheduled_ns = scheduled_ns
        self._first_byte_ns: int | None = None
        self._status: int | None = None
        self._revision: str | None = None

    def begin_answer(self, response: aiohttp.ClientResponse) -> None:
        """Note that the answer's headers have come."""
        self._first_byte_ns = time.monotonic_ns()
        self._status = response.status
        self._revision = response.headers.get(REVISION_HEADER)

    def begin_call(self, revision: str) -> None:
        """Note that the answer to a call has begun."""
        self._first_byte_ns = time.monotonic_ns()
        self._revision = revision

    def end_call(self) -> None:
        """Note that a call was answered."""
        self._status = HTTPStatus.OK

    def record(self, error: str | None) -> RequestRecord:
        """Return the record of an exchange that has just ended, well when ``error`` is none."""
        if error is None:
            result = RequestResult.ANSWERED
        elif self.kind is RequestKind.STREAM and self._status == HTTPStatus.OK:
            result = RequestResult.TRUNCATED
        else:
            result = RequestResult.FAILED
        return RequestRecord(
            number=self.number,
            kind=self.kind,
            result=result,
            scheduled_ns=self._scheduled_ns,
            sent_ns=self.sent_ns,
            first_byte_ns=self._first_byte_ns,
            end_ns=time.monotonic_ns(),
            status=self._status,
            revision=self._revision,
            late=timedelta(microseconds=(self.sent_ns - self._scheduled_ns) / 1000) > LATE_AFTER,
            error=error,
        )


class _Schedule:
    """Sends each arrival at its time, and all that are overdue at once."""

    def __init__(self, arrivals: Iterator[Arrival], send: Callable[[int, int], None]) -> None:
        self._arrivals = arrivals
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._await_next()

    def stop(self) -> None:
        """Send nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _await_next(self) -> None:
        while (arrival := next(self._arrivals, None)) is not None:
            due = self._began + arrival.at.total_seconds()
            if due > self._loop.time():
                self._timer = self._loop.call_at(due, self._arrive, arrival.tokens, due)
                return
            self._send(arrival.tokens, round(due * 1e9))

    def _arrive(self, tokens: int, due: float) -> None:
        self._send(tokens, round(due * 1e9))
        self._await_next()


def request_name(seed: int, number: int) -> str:
    """Return how a request of a load is named in its header."""
    return f"{seed}-{number}"


async def _note_sent(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _sent: aiohttp.TraceRequestHeadersSentParams,
) -> None:
    """Note when a request's headers were written, which may be later than when it was begun."""
    exchange: _Exchange = context.trace_request_ctx
    exchange.sent_ns = time.monotonic_ns()


async def _read_stream(response: aiohttp.ClientResponse) -> str | None:
    """Read a stream to its end; return what is wrong with it, none when it ended with ``[DONE]``."""
    done = False
    async for line in response.content:
        done = done or line.startswith(b"data: [DONE]")
    return None if done else "the stream ended without [DONE]"


def _check_answer(body: bytes) -> str | None:
    """Return what is wrong with a plain answer, none when it holds a completion."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("choices"):
        return None
    return f"no completion: {body[:EXCERPT_LENGTH].decode(errors='replace')}"
