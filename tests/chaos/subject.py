"""One deployment under load, which the matrix brings to a moment, strikes and judges, again and again."""

import asyncio
import io
import itertools
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from celadon.client.patience import NoAnswerError
from celadon.domain.language import contracts
from celadon.domain.language.commands import AbortCommand, PauseCommand, PromoteCommand
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.stack.demo.generator import REQUEST_HEADER, LoadGenerator, LoadOptions
from celadon.stack.demo.records import RequestKind, RequestRecord, RequestResult
from tests.chaos.holds import Blocks
from tests.chaos.replica import TOKEN_SECONDS
from tests.chaos.site import Site, until

REPLICAS: Final = 2
REACH_SECONDS: Final = 120.0
PERSON_SECONDS: Final = 180.0
ANSWER_PATIENCE: Final = timedelta(seconds=30)
"""Above the time for which a process stands still, so that what was asked meanwhile is still meant."""
LOAD_ENDS_WITHIN: Final = timedelta(seconds=60)

POLICY: Final[dict[str, object]] = {
    "bake": "2s",
    # Above the 20 s for which a process stands still and the time until all moments are reached: nothing is cut merely
    # because nobody could report, and a drain that waits for its strike is still under way when that comes.
    "drain_timeout": "75s",
    "router_ack_timeout": "40s",
    "max_replacements": 1000,
}

PEOPLE: Final = ("chaos",)

_seeds = itertools.count(1)
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True)
class Struck:
    """A rollout as the table has it."""

    rollout: int
    phase: RolloutPhase
    outcome: RolloutOutcome | None
    blue_set: int | None
    green_set: int | None


class Subject:
    """One deployment; each round of the matrix is one more rollout of it."""

    def __init__(self, site: Site, name: str) -> None:
        """Name it; nothing is started yet."""
        self.site = site
        self.name = name
        self.round = 0
        self.holds = AsyncExitStack()
        self.refusals: list[str] = []
        self.before = 0
        """The newest rollout when the round began."""
        self.people: tuple[str, ...] = PEOPLE
        """Who promotes, one after the other; as many as the policy of this round wants."""
        self.start_is_spent = False
        """Whether the reset workflow begins nothing, since the signed start of its rollout has counted."""
        self.old_label = ""
        self.label = ""
        self.asking: asyncio.Task[object] | None = None
        """A call that waits for its answer since before the strike."""
        self.blocks: Blocks = _nobody_waits
        """Whether a step waits for the row that this round's moment has locked."""
        self._generator: LoadGenerator | None = None
        self._records = io.StringIO()
        self._seed = 0
        self._streams: list[asyncio.Task[RequestRecord]] = []

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        """The workflow of the newest rollout."""
        return self.site.temporal.get_workflow_handle(workflow_id(self.name))

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"{self.site.addresses.router}/{self.name}"

    @property
    def seed(self) -> int:
        """What names the requests of this round."""
        return self._seed

    def gate(self, what: str) -> Path:
        """Return a file of this round whose existence lets something go on."""
        return self.site.gates / f"{self.name}-{self.round}-{what}"

    # Its rollouts.

    async def serve_first(self) -> None:
        """Let a first revision go live."""
        self.label = "r0"
        await self.start(bake="0s")
        await self.until_ended(REACH_SECONDS)

        async def answers() -> bool:
            return await self.answers() == self.label

        await until(answers, f"{self.name} answers", REACH_SECONDS)

    async def begin_round(self) -> None:
        """Number a new rollout and put the deployment under load."""
        self.round += 1
        newest = await self.newest()
        self.before = newest.rollout if newest is not None else 0
        self.old_label, self.label = await self.answers(), f"r{self.round}"
        self.refusals = []
        self.people = PEOPLE
        self.start_is_spent = False
        self.asking = None
        self.holds = AsyncExitStack()
        self.blocks = _nobody_waits
        self._seed = next(_seeds)
        self._records = io.StringIO()
        self._streams = []
        self._generator = LoadGenerator(
            LoadOptions(
                base_url=f"{self.url}/v1",
                requests_per_second=5.0,
                streams=1,
                stream_duration=timedelta(seconds=2),
                token_interval=timedelta(seconds=TOKEN_SECONDS),
                seed=self._seed,
                answer_timeout=timedelta(seconds=60),
            ),
            self._records,
        )

    async def start(self, *server: str, **policy: object) -> None:
        """Start a rollout of this round's revision, as soon as no other is under way."""
        deadline = time.monotonic() + REACH_SECONDS
        while True:
            try:
                await self.start_once(*server, **policy)
            except RefusedError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)
            else:
                return

    async def start_once(self, *server: str, **policy: object) -> None:
        """Start a rollout of this round's revision; errors as those of the client."""
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("replica.py"))]
        journal = str(self.site.journals)
        request = {
            "deployment": self.name,
            "replicas": REPLICAS,
            "revision": {
                "command": [*command, "--port", "{port}", "--label", self.label, "--journal", journal, *server],
                "health_check": {"path": "/health", "interval": "200ms", "timeout": "2s"},
            },
            "policy": {**POLICY, **policy},
            "requested_by": "chaos",
        }
        await self.site.rollouts.start(parse_payload(RolloutRequest, request))

    async def newest(self) -> Struck | None:
        """Return the newest rollout."""
        rows = await self.site.rows(
            "select id, phase, outcome, blue_set, green_set from rollouts where deployment = :name "
            "order by id desc limit 1",
            name=self.name,
        )
        if not rows:
            return None
        row = rows[0]
        outcome = None if row["outcome"] is None else RolloutOutcome(row["outcome"])
        return Struck(row["id"], RolloutPhase(row["phase"]), outcome, row["blue_set"], row["green_set"])

    async def was_refused_as_spent(self) -> bool:
        """Whether the latest run of its workflow was refused because its signed start has counted."""
        if (await self.handle.describe()).status is not WorkflowExecutionStatus.FAILED:
            return False
        refusal = (await self.site.rollouts.wait(self.name)).refusal
        return refusal is not None and refusal.code is RefusalCode.REQUEST_SPENT

    async def current(self) -> Struck:
        """Return this round's newest rollout; waits until it has begun."""
        found: list[Struck] = []

        async def begun() -> bool:
            newest = await self.newest()
            found[:] = [newest] if newest is not None and newest.rollout > self.before else []
            return bool(found)

        await until(begun, f"the rollout of {self.name} has begun", REACH_SECONDS)
        return found[0]

    async def until_phase(self, phase: RolloutPhase, seconds: float = REACH_SECONDS) -> None:
        """Wait until this round's rollout is in a phase."""

        async def reached() -> bool:
            return (await self.current()).phase is phase

        await until(reached, f"{self.name} is {phase.value}", seconds)

    async def wait_for_promotion(self, **policy: object) -> None:
        """Start this round's rollout and wait until it awaits its promotion."""
        await self.start(**policy)
        await self.until_phase(RolloutPhase.AWAITING_PROMOTION)

    # What a person does.

    async def promote(self, *people: str) -> None:
        """Let each of this round's people promote, and wait for the answers.

        A call without an answer is repeated with the same request id.
        """
        for person in people or self.people:
            request, command = str(uuid.uuid4()), PromoteCommand(by=person)
            await _answered(
                partial(
                    self.site.rollouts.promote,
                    self.name,
                    command,
                    request_id=request,
                    patience=ANSWER_PATIENCE,
                )
            )

    async def pause(self) -> None:
        """Let the timers stand still."""
        await self._ask(contracts.PAUSE)

    async def resume(self) -> None:
        """Let the timers run on; a rollout that stands still no more is as wanted."""
        try:
            await self._ask(contracts.RESUME)
        except RefusedError as refused:
            if refused.refusal.code is not RefusalCode.NOT_PAUSED:
                raise

    async def _ask(self, message: str) -> None:
        request, command = str(uuid.uuid4()), PauseCommand(by="chaos")
        await _answered(
            lambda: self.site.rollouts.ask(self.name, message, command, request_id=request, patience=ANSWER_PATIENCE)
        )

    async def abort(self) -> None:
        """Abort, and wait for the answer."""
        request, command = str(uuid.uuid4()), AbortCommand(by="chaos")
        await _answered(
            lambda: self.site.rollouts.abort(self.name, command, request_id=request, patience=ANSWER_PATIENCE)
        )

    async def roll_back(self) -> None:
        """Return to blue, and wait for the answer."""
        request, command = str(uuid.uuid4()), AbortCommand(by="chaos")
        await _answered(
            lambda: self.site.rollouts.rollback(self.name, command, request_id=request, patience=ANSWER_PATIENCE)
        )

    def ask_for_rollback(self) -> None:
        """Begin to roll back; :meth:`answer_of_rollback` waits for the answer."""
        self.asking = asyncio.create_task(self.roll_back())

    async def answer_of_rollback(self) -> None:
        """Wait for the answer of the rollback that was asked for; one that blue could not take is asked for again."""
        deadline = time.monotonic() + PERSON_SECONDS
        while self.asking is not None:
            try:
                await self.asking
            except RefusedError as refused:
                self.refusals.append(str(refused))
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)
                current = await self.current()
                if current.outcome is not None or current.phase is RolloutPhase.ROLLING_BACK:
                    return
                self.ask_for_rollback()
            else:
                return

    def ask_for_promotion(self) -> None:
        """Begin to promote; :meth:`answered` waits for the answer."""
        self.asking = asyncio.create_task(self.promote())

    async def answered(self) -> None:
        """Wait for the answer of the promotion that was asked for; a refusal says that green regressed: ask again."""
        try:
            if self.asking is not None:
                await self.asking
        except RefusedError as refused:
            self.refusals.append(str(refused))
            await self.promote_when_it_waits()

    async def promote_when_it_waits(self) -> None:
        """Promote as soon as green waits for it, and again when it regressed meanwhile, until the rollout went on."""
        deadline = time.monotonic() + PERSON_SECONDS
        while time.monotonic() < deadline:
            current = await self.current()
            if current.outcome is not None or current.phase in {RolloutPhase.BAKING, RolloutPhase.DRAINING}:
                return
            if current.phase is RolloutPhase.AWAITING_PROMOTION:
                try:
                    await self.promote()
                except RefusedError as refused:
                    self.refusals.append(str(refused))
                else:
                    return
            await asyncio.sleep(0.3)

    async def until_ended(self, seconds: float) -> None:
        """Wait until no rollout of it is unfinished, and this round had one."""
        await self.until_newer_has_ended(self.before, seconds)

    async def until_newer_has_ended(self, before: int, seconds: float) -> None:
        """Wait until a rollout that is newer than ``before`` has ended."""

        async def ended() -> bool:
            newest = await self.newest()
            return newest is not None and newest.rollout > before and newest.outcome is not None

        await until(ended, f"a rollout of {self.name} after rollout {before} has ended", seconds)

    async def release(self) -> None:
        """Let go of everything that holds this round's moment."""
        await self.holds.aclose()

    # Its traffic.

    async def answers(self, router: str | None = None) -> str:
        """Return the label of the revision that answers; empty when none does."""
        url = f"{router or self.site.addresses.router}/{self.name}/"
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self.site.web.get(url) as answer:
                return answer.headers.get("x-model-revision", "") if answer.status == 200 else ""
        return ""

    async def hold_a_stream(self) -> None:
        """Begin a stream on what is live now; it ends when this moment is released."""
        begun = asyncio.Event()
        number = 1_000_000 + len(self._streams)
        gate = self.gate("stream")
        self._streams.append(asyncio.create_task(self._stream(number, gate, begun)))
        self.holds.callback(gate.touch)
        async with asyncio.timeout(REACH_SECONDS):
            await begun.wait()

    async def _stream(self, number: int, gate: Path, begun: asyncio.Event) -> RequestRecord:
        sent, first, error, status = time.monotonic_ns(), None, None, None
        body = b""
        headers = {REQUEST_HEADER: f"{self._seed}-{number}"}
        try:
            async with self.site.web.get(
                f"{self.url}/hold",
                params={"gate": str(gate)},
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as answer:
                status, first = answer.status, time.monotonic_ns()
                async for part in answer.content:
                    body += part
                    begun.set()
        except (aiohttp.ClientError, TimeoutError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        whole = body == b"held\ndone\n"
        return RequestRecord(
            number=number,
            kind=RequestKind.STREAM,
            result=RequestResult.ANSWERED if whole else RequestResult.TRUNCATED,
            scheduled_ns=sent,
            sent_ns=sent,
            first_byte_ns=first,
            end_ns=time.monotonic_ns(),
            status=status,
            revision=None,
            late=False,
            error=None if whole else error or f"the stream ended with {body[-80:]!r}",
        )

    async def end_load(self) -> list[RequestRecord]:
        """Stop the load, wait for what runs, and return a record of every request of this round."""
        if self._generator is None:
            return []
        await self._generator.finish(LOAD_ENDS_WITHIN)
        self._generator = None
        self.gate("stream").touch()
        async with asyncio.timeout(LOAD_ENDS_WITHIN.total_seconds()):
            streams = await asyncio.gather(*self._streams)
        lines = self._records.getvalue().splitlines()
        return [*(RequestRecord.model_validate_json(line) for line in lines), *streams]


async def _nobody_waits() -> bool:
    return False


async def _answered(ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
    deadline = time.monotonic() + PERSON_SECONDS
    while True:
        try:
            return await ask()
        except NoAnswerError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.3)
