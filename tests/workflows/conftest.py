"""Rollouts on a real Temporal server whose time is skipped, with steps that answer as a test's case says."""

import asyncio
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import pytest_asyncio
from pydantic import BaseModel
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle, WorkflowHistory
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.heartbeats import Heartbeats
from celadon.client.patience import NoAnswerError
from celadon.client.rollouts import RolloutClient, RolloutEnded
from celadon.domain.decisions.windows import opening_times
from celadon.domain.language import contracts
from celadon.domain.language.commands import AbortAnswer, AbortCommand, PromoteAnswer, PromoteCommand
from celadon.domain.language.errors import Refusal
from celadon.domain.language.freeze import FreezesRead
from celadon.domain.language.messages import GreenChanged, RolloutRequest, RolloutStatus
from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteSetId
from celadon.domain.language.next_rollout import Successor, SuccessorRead
from celadon.domain.language.opening import OpeningTimes
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.language.scheduling import AskAnswer, AskStep
from celadon.domain.language.states import RolloutPhase, SetCondition
from celadon.domain.language.steps import (
    BeginStep,
    Begun,
    CloseStep,
    DrainEnd,
    EdgeAnswer,
    Finished,
    FinishStep,
    FreezesStep,
    GreenOpened,
    Judged,
    JudgeStep,
    PhaseStep,
    Step,
    SwitchAnswer,
    SwitchStep,
    WindowStep,
)
from celadon.domain.language.window import Window
from tests.workers import PATIENT_TASKS, running
from worker.registration import WORKFLOWS, workflow_runner

AnswerT = TypeVar("AnswerT", bound=BaseModel)

BLUE = RouteSetId(1)
GREEN = RouteSetId(2)
ROLLOUT = RolloutId(7)
DEADLINE_SECONDS = 60.0
_SKIPPED_AT_ONCE = timedelta(days=5)
"""Less than the age at which a rollout goes on in a new run."""
FOR_EVER = {"valid_until": "2999-01-01T00:00:00Z"}
"""A rollout's own time runs ahead of the machine's."""


@dataclass
class Script:
    """How the steps of one rollout answer, and which were asked for."""

    blue: RouteSetId | None = BLUE
    gated: bool = True
    open: list[GreenOpened] = field(default_factory=lambda: [GreenOpened(route_set=GREEN, wanted=3)])
    edge: EdgeAnswer = None
    """What a rollout is told that asks for green's condition anew."""
    switch: list[SwitchAnswer] = field(default_factory=lambda: [SwitchAnswer(epoch=Epoch(5))])
    switch_back: list[SwitchAnswer] = field(default_factory=lambda: [SwitchAnswer(epoch=Epoch(6))])
    judge: list[Judged] = field(default_factory=list)
    """What aborts before the switch are answered; all of them count when it is empty."""
    drain: list[DrainEnd] = field(default_factory=lambda: [DrainEnd()])
    freezes: FreezesRead | None = None
    """What the table knows of freezes; nothing when there are none."""
    successor: Successor | None = None
    """What waits behind the rollout."""
    windows: tuple[Window, ...] = ()
    """Those of the rollout's policy, by its own clock."""
    ask: list[AskAnswer | Refusal] = field(
        default_factory=lambda: [AskAnswer(deployment="chat", command="promote", by="ann", said="Switched to green.")]
    )
    cause: str = ""
    """What the table knows at the end that green has failed with."""
    holds: dict[str, asyncio.Event] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    """How many attempts of a step fail before one answers."""
    faults: dict[str, Exception] = field(default_factory=dict)
    """What every attempt of a step fails with, which is no outage."""
    asked: list[tuple[str, BaseModel]] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)
    """The activities that have been asked for and have not failed: another attempt of one asks for nothing new."""
    answered: dict[str, BaseModel] = field(default_factory=dict)

    def hold(self, step: str) -> asyncio.Event:
        """Let ``step`` stay in flight until the returned event is set."""
        self.holds[step] = asyncio.Event()
        return self.holds[step]

    def names(self) -> list[str]:
        """Return the steps in the order in which they were asked for."""
        return [name for name, _ in self.asked]

    def inputs(self, name: str) -> list[Any]:
        """Return what a step was asked with, each time."""
        return [step for asked, step in self.asked if asked == name]

    def notes(self) -> list[str]:
        """Return the kinds of all audit lines that were sent, once each, in order."""
        lines: dict[int, str] = {}
        for _, step in self.asked:
            if isinstance(step, Step):
                lines |= {note.seq: note.kind for note in step.notes}
        return [lines[seq] for seq in sorted(lines)]

    def evidence(self, kind: str) -> list[Mapping[str, str]]:
        """Return the evidence of all audit lines of a kind that were sent, once each, in order."""
        lines: dict[int, Mapping[str, str]] = {}
        for _, step in self.asked:
            if isinstance(step, Step):
                lines |= {note.seq: note.evidence for note in step.notes if note.kind == kind}
        return [lines[seq] for seq in sorted(lines)]


class ScriptedSteps:
    """The activities of a rollout, answered from the script of its deployment."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}

    async def _ask(self, name: str, deployment: str, step: BaseModel) -> Script:
        script = self.scripts[deployment]
        # On a machine that stands still for some seconds an attempt is lost, and the server asks once more.
        identity = _identity()
        if identity not in script.begun:
            script.begun.add(identity)
            script.asked.append((name, step))
            if script.failures.get(name, 0) > 0:
                script.failures[name] -= 1
                script.begun.discard(identity)
                raise ConnectionError("the database is away")
        if name in script.faults:
            raise script.faults[name]
        if name in script.holds:
            while not script.holds[name].is_set():
                activity.heartbeat()
                await asyncio.sleep(0.05)
        return script

    @activity.defn
    async def begin(self, step: BeginStep) -> Begun:
        script = await self._ask("begin", step.request.deployment, step)
        policy = step.request.policy if isinstance(step.request, RolloutRequest) else BlueGreenPolicy()
        script.windows = policy.windows
        return Begun(
            rollout=ROLLOUT,
            deployment=step.request.deployment,
            policy=resolve_policy(policy),
            gated=script.gated,
            replicas=3,
            blue_set=script.blue,
            from_revision=None if script.blue is None else RevisionNumber(1),
            to_revision=RevisionNumber(2),
            started_at=step.at,
        )

    @activity.defn
    async def provision_green(self, step: Step) -> GreenOpened:
        script = await self._ask("provision_green", step.deployment, step)
        return _answer(script, script.open)

    @activity.defn
    async def enter_phase(self, step: PhaseStep) -> FreezesRead | None:
        script = await self._ask("enter_phase", step.deployment, step)
        return script.freezes if step.phase is RolloutPhase.AWAITING_PROMOTION else None

    @activity.defn
    async def read_freezes(self, step: FreezesStep) -> FreezesRead:
        script = await self._ask("read_freezes", step.deployment, step)
        return script.freezes or FreezesRead(at=activity.info().current_attempt_scheduled_time)

    @activity.defn
    async def read_successor(self, step: Step) -> SuccessorRead:
        script = await self._ask("read_successor", step.deployment, step)
        return SuccessorRead(successor=script.successor)

    @activity.defn
    async def judge(self, step: JudgeStep) -> Judged:
        script = await self._ask("judge", step.deployment, step)
        return _answer(script, script.judge) if script.judge else Judged(refusals=(None,) * len(step.messages))

    @activity.defn
    async def ask_for_edge(self, step: Step) -> EdgeAnswer:
        return (await self._ask("ask_for_edge", step.deployment, step)).edge

    @activity.defn
    async def look_up_windows(self, step: WindowStep) -> OpeningTimes:
        script = await self._ask("look_up_windows", step.deployment, step)
        return opening_times(script.windows, step.at, step.due)

    @activity.defn
    async def switch(self, step: SwitchStep) -> SwitchAnswer:
        script = await self._ask("switch", step.deployment, step)
        return _answer(script, script.switch)

    @activity.defn
    async def switch_back(self, step: SwitchStep) -> SwitchAnswer:
        script = await self._ask("switch_back", step.deployment, step)
        return _answer(script, script.switch_back)

    @activity.defn
    async def drain(self, step: CloseStep) -> DrainEnd:
        script = await self._ask("drain", step.deployment, step)
        return _answer(script, script.drain)

    @activity.defn
    async def finish(self, step: FinishStep) -> Finished:
        await self._ask("finish", step.deployment, step)
        cause = self.scripts[step.deployment].cause
        return Finished(
            epoch=Epoch(9),
            switched_at=None,
            completed_at=step.at,
            requests_cut=0,
            reason=f"{step.reason}: {cause}" if cause else "",
            last_error=cause,
        )

    @activity.defn
    async def ask(self, step: AskStep) -> AskAnswer:
        script = await self._ask("ask", step.request.deployment, step)
        answer = _answer(script, script.ask)
        if isinstance(answer, Refusal):
            raise ApplicationError(str(answer), answer, type=answer.code.value, non_retryable=True)
        return answer

    def all(self) -> list[Callable[..., Any]]:
        return [
            self.begin,
            self.provision_green,
            self.enter_phase,
            self.read_freezes,
            self.read_successor,
            self.judge,
            self.ask_for_edge,
            self.look_up_windows,
            self.switch,
            self.switch_back,
            self.drain,
            self.finish,
            self.ask,
        ]


def _identity() -> str:
    """Name an activity, the same at each attempt; each run numbers its own."""
    info = activity.info()
    return f"{info.workflow_run_id}/{info.activity_id}"


def _answer(script: Script, answers: list[AnswerT]) -> AnswerT:
    """Return the next answer, to another attempt the same one, as the table does; the last one stays."""
    identity = _identity()
    if identity not in script.answered:
        script.answered[identity] = answers.pop(0) if len(answers) > 1 else answers[0]
    answer: Any = script.answered[identity]
    return cast("AnswerT", answer)


class RunningRollout:
    """One rollout under test."""

    def __init__(
        self,
        env: WorkflowEnvironment,
        deployment: str,
        script: Script,
        histories: Path | None,
        task_timeout: timedelta = PATIENT_TASKS,
    ) -> None:
        self._env = env
        self._client = RolloutClient(env.client, task_timeout=task_timeout)
        self._histories = histories
        self._seq = 0
        self.deployment = deployment
        self.script = script
        self.handle: WorkflowHandle[Any, Any] = env.client.get_workflow_handle(contracts.workflow_id(deployment))

    async def start(self, **policy: object) -> None:
        """Start with a policy, and let green open."""
        request = parse_payload(
            RolloutRequest,
            {"deployment": self.deployment, "revision": 2, "policy": policy, "requested_by": "ann"},
        )
        await self._client.start(request)
        await self.until(lambda: "provision_green" in self.script.names())

    async def edge(
        self,
        condition: SetCondition,
        *,
        ready: int | None = None,
        last_error: str = "",
        scaled: bool = False,
        wanted: int = 3,
        lost: bool = False,
    ) -> int:
        """Tell an edge of green as the keeper would, return its number; it may be ``lost`` since the phase began."""
        self._seq += 1
        healthy = (wanted if condition is SetCondition.READY else 0) if ready is None else ready
        edge = GreenChanged(
            route_set=GREEN,
            seq=self._seq,
            condition=condition,
            running=0 if condition is SetCondition.STARTING else wanted,
            ready=healthy,
            required=wanted,
            wanted=wanted,
            failed=condition is SetCondition.FAILED,
            last_error=last_error,
            scaled=scaled,
            lost_since=(await self.status()).since if lost else None,
        )
        await self.handle.signal(contracts.GREEN_CHANGED, edge)
        return self._seq

    async def wait_for_promotion(self, **policy: object) -> None:
        """Bring the rollout to the gate."""
        await self.start(**policy)
        await self.edge(SetCondition.READY)
        await self.phase(RolloutPhase.AWAITING_PROMOTION)

    async def bake(self, **policy: object) -> None:
        """Bring the rollout behind the switch."""
        await self.wait_for_promotion(**policy)
        await self.promote()

    async def promote(self, **command: object) -> PromoteAnswer:
        """Promote by update."""
        return await self._client.promote(self.deployment, parse_payload(PromoteCommand, FOR_EVER | command))

    async def abort(self, **command: object) -> AbortAnswer:
        """Abort by update."""
        return await self._client.abort(self.deployment, parse_payload(AbortCommand, FOR_EVER | command))

    async def rollback(self, **command: object) -> AbortAnswer:
        """Roll back by update."""
        return await self._client.rollback(self.deployment, parse_payload(AbortCommand, FOR_EVER | command))

    async def status(self) -> RolloutStatus:
        """Ask for the status."""
        return await self._client.status(self.deployment)

    async def phase(self, phase: RolloutPhase) -> RolloutStatus:
        """Wait until the rollout is in ``phase``."""
        return await self.until_status(lambda status: status.phase is phase)

    async def until_a_promotion_is_recorded(self) -> None:
        """Wait until the rollout has heard a promotion that it has not carried out."""
        await self.until_status(lambda status: bool(status.approvals))

    async def until_abort_is_recorded(self) -> None:
        """Wait until the rollout has heard an abort or a cancel."""
        await self.until_status(lambda status: bool(status.abort_requested))

    async def until_status(self, condition: Callable[[RolloutStatus], bool]) -> RolloutStatus:
        """Wait until the rollout's status is as wanted; return it. A question that timed out is asked again."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        status: RolloutStatus | None = None
        while time.monotonic() < deadline:
            with suppress(NoAnswerError):
                status = await self.status()
                if condition(status):
                    return status
            await asyncio.sleep(0.02)
        raise AssertionError(f"waited in vain for another status: {status}")

    async def until_nothing_is_in_flight(self) -> None:
        """Wait until the rollout does nothing but wait."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while await self._is_busy():
            if time.monotonic() > deadline:
                raise AssertionError("a step is still in flight")
            await asyncio.sleep(0.02)

    async def history_length(self) -> int:
        """Count the events of the history."""
        return (await self.handle.describe()).history_length

    async def until_history_is_longer(self, than: int) -> None:
        """Wait until something was added to the history, such as an update that was accepted."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await self.history_length() <= than:  # noqa: ASYNC110 - of a server
                await asyncio.sleep(0.02)

    async def until_event(self, kind: str, count: int = 1) -> None:
        """Wait until so many events of a kind stand in the history, and the workflow has seen them."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            history = await self.handle.fetch_history()
            names = [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in history.events]
            found = [number for number, name in enumerate(names) if name == kind]
            if len(found) >= count and "WORKFLOW_TASK_COMPLETED" in names[found[count - 1] - 1 :]:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {kind}: {names}")
            await asyncio.sleep(0.02)

    async def events(self) -> int:
        """Count the events of the history once no step is in flight, without those that the skipping of time adds."""
        await self.until_nothing_is_in_flight()
        history = await self.handle.fetch_history()
        names = [EventType.Name(event.event_type) for event in history.events]
        added = ("TIME_SKIPPING_TRANSITIONED", "OPTIONS_UPDATED")
        return len([name for name in names if not name.endswith(added)])

    async def _is_busy(self) -> bool:
        description = (await self.handle.describe()).raw_description
        return bool(description.pending_activities) or description.HasField("pending_workflow_task")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the script holds."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain; asked so far: {self.script.names()}")
            await asyncio.sleep(0.02)

    async def skip(self, span: timedelta) -> None:
        """Let ``span`` of the rollout's time pass, also when it goes on in new runs meanwhile."""
        while span > timedelta(0):
            before = await self.handle.describe()
            if before.status is not WorkflowExecutionStatus.RUNNING:
                return
            await self._fast_forward(min(span, _SKIPPED_AT_ONCE))
            await self.until_nothing_is_in_flight()
            after = await self.handle.describe()
            if after.run_id != before.run_id and after.status is WorkflowExecutionStatus.RUNNING:
                # The server starts a new run at twice the time that was skipped, and so not before more is skipped.
                await self._fast_forward(timedelta(seconds=1))
            span -= _SKIPPED_AT_ONCE

    async def _fast_forward(self, span: timedelta) -> None:
        # Of a workflow without any timer the server skips nothing, and would not answer.
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._env.fast_forward(self.handle, span)

    async def ended(self) -> RolloutEnded:
        """Wait for the end."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._client.wait(self.deployment)

    async def start_with(self, payload: object) -> WorkflowHandle[Any, Any]:
        """Start a rollout with what no door would send."""
        return await self._env.client.start_workflow(
            contracts.WORKFLOW_TYPE,
            payload,
            id=contracts.workflow_id(self.deployment),
            task_queue=contracts.TASK_QUEUE,
        )

    async def history_of(self, run_id: str) -> WorkflowHistory:
        """Return what one run of the rollout did."""
        handle = self._env.client.get_workflow_handle(contracts.workflow_id(self.deployment), run_id=run_id)
        return await handle.fetch_history()

    async def record(self, name: str) -> None:
        """Keep the history for the replay tests, when histories are recorded."""
        if self._histories is not None:
            history = await self.handle.fetch_history()
            path = self._histories / f"{contracts.WORKFLOW_TYPE}-{name}.json"
            content = json.dumps(without_machine(json.loads(history.to_json())), indent=1, sort_keys=True)
            await asyncio.to_thread(path.write_text, content + "\n")


def without_machine(content: Any) -> Any:
    """Leave out what a replay does not need and what names the machine of the recording."""
    if isinstance(content, dict):
        named = {"identity", "stackTrace", "binaryChecksum", "workerVersion"}
        return {key: without_machine(value) for key, value in content.items() if key not in named}
    if isinstance(content, list):
        return [without_machine(one) for one in content]
    return content.replace(socket.gethostname(), "worker") if isinstance(content, str) else content


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def scripted_steps(temporal_env: WorkflowEnvironment) -> AsyncIterator[ScriptedSteps]:
    """Run one worker for all rollouts of these tests; another package's takes the same task queue."""
    steps = ScriptedSteps()
    worker = Worker(
        temporal_env.client,
        task_queue=contracts.TASK_QUEUE,
        workflows=WORKFLOWS,
        activities=steps.all(),
        workflow_runner=workflow_runner(),
        interceptors=[Heartbeats()],
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        # A workflow task that the sticky queue gives up writes events that no test counts on.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=60),
        # On a machine that stands still a task takes longer than the 2 s after which the SDK breaks it off.
        debug_mode=True,
    )
    async with running(worker):
        yield steps


_numbers = itertools.count(1)


@pytest.fixture
def histories(request: pytest.FixtureRequest) -> Path | None:
    """Return where histories are recorded, or nothing when they are not."""
    recording = bool(request.config.getoption("--record-histories", default=False))
    return Path(__file__).parent.parent / "histories" if recording else None


@pytest.fixture
def rollout(
    temporal_env: WorkflowEnvironment,
    scripted_steps: ScriptedSteps,
    histories: Path | None,
) -> RunningRollout:
    """Return a rollout of a deployment of its own, not yet started."""
    deployment = f"chat{next(_numbers)}"
    script = scripted_steps.scripts[deployment] = Script()
    return RunningRollout(temporal_env, deployment, script, histories)


@pytest.fixture
def client(temporal_env: WorkflowEnvironment) -> Client:
    """Return the client of the session's Temporal server."""
    return temporal_env.client
