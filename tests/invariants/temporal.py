"""A Temporal in which time and every delivery are the test's: it runs the product's own workflow, one task at a time.

Only the server and its clock are stood in for. Handlers, decisions and the story are those of ``workflows``; an
activity that the workflow asks for stays pending until the test lets an attempt answer. As on Temporal, all messages of
one task are recorded before a condition is looked at, and a cancel reaches the main coroutine.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, TypeVar, TypeVarTuple

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from celadon.domain.language.messages import RolloutRequest, RolloutResult, RolloutStatus
from celadon.domain.language.next_rollout import NextRollout
from celadon.domain.language.progress import Progress
from celadon.domain.language.steps import BeginStep, Step
from workflows.rollout import BlueGreenRollout
from workflows.steps import MOVES_ON

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_definition = workflow._Definition.must_from_class(BlueGreenRollout)  # noqa: SLF001 - handlers by their names, as sent


class WorkflowLoop(asyncio.SelectorEventLoop):
    """A loop that tells when nothing is left to run, so that a workflow task has an end."""

    def __init__(self) -> None:
        super().__init__()
        self._calls_made = 0

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Count what is to run."""
        self._calls_made += 1
        return super().call_soon(callback, *args, context=context)

    def settle(self) -> None:
        """Run until nothing is ready."""
        while True:
            before = self._calls_made
            self.call_soon(self.stop)
            self.run_forever()
            if self._calls_made == before + 1:
                return


@dataclass(frozen=True)
class Message:
    """A signal or an update on its way."""

    name: str
    payload: dict[str, Any]
    update: bool = False
    request_id: str = ""
    """The update's id, as a door gives it that signs; empty for none."""


@dataclass(frozen=True)
class Cancel:
    """*Request Cancellation*."""


@dataclass(frozen=True)
class Answer:
    """What the attempt of a step answered, in the order in which the steps were asked for."""

    step: int
    value: BaseModel | ApplicationError | None


@dataclass(frozen=True)
class Reseed:
    """The seed of a run that was reset."""


Job = Message | Cancel | Answer | Reseed


@dataclass
class Asked:
    """A step that the workflow has asked for."""

    name: str
    step: BeginStep | Step
    future: "asyncio.Future[BaseModel | None]"
    at: datetime
    """By the clock of the workflows."""
    is_pending: bool = True
    """Whether no attempt has answered yet."""
    is_history: bool = False
    """Whether it was answered in the run that was reset; no attempt of it was ever made in this one."""


@dataclass
class Call:
    """An update that was accepted; its caller waits for the answer."""

    message: Message
    task: "asyncio.Task[Any]"

    @property
    def answer(self) -> BaseModel | None:
        """What the caller was told, if that was no refusal."""
        if not self.task.done() or self.task.cancelled() or self.task.exception() is not None:
            return None
        told: BaseModel | None = self.task.result()
        return told


@dataclass
class _Waiting:
    condition: Callable[[], bool]
    until: datetime | None
    future: "asyncio.Future[None]"


@dataclass(frozen=True)
class _Logged:
    at: datetime
    jobs: tuple[Job, ...]


@dataclass
class Execution:
    """One run of a rollout's workflow."""

    loop: WorkflowLoop
    workflow_id: str
    run_id: str
    request: RolloutRequest | NextRollout
    now: datetime
    asked: list[Asked] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    was_reset: bool = False
    """Whether it has the history of an earlier run."""
    _waiting: list[_Waiting] = field(default_factory=list)
    _log: list[_Logged] = field(default_factory=list)
    _of_seeds: list[Callable[[int], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Run the first workflow task."""
        self._started_at = self.now
        self._enter()
        self._workflow = self._inside(_definition.cls)
        payload = self.request.model_dump(mode="json")
        self._main = self._spawn(self._workflow.run(payload))
        self.task(self.now)

    # What the test sees and does.

    @property
    def is_running(self) -> bool:
        """Whether the workflow has not ended."""
        return not self._main.done()

    @property
    def pending(self) -> list[int]:
        """The steps that wait for an answer, as their numbers in the order in which they were asked for."""
        return [number for number, one in enumerate(self.asked) if one.is_pending]

    @property
    def tasks(self) -> int:
        """How many workflow tasks have run."""
        return len(self._log)

    @property
    def timers(self) -> list[datetime]:
        """When the timers fire that run now."""
        return [one.until for one in self._waiting if one.until is not None and not one.future.done()]

    def status(self) -> RolloutStatus:
        """Ask the query."""
        status: RolloutStatus = self._inside(self._workflow.status)
        return status

    @property
    def progress(self) -> Progress:
        """What the decisions of the workflow rest on."""
        progress: Progress = self._workflow._state.progress  # noqa: SLF001 - no query tells it
        return progress

    def result(self) -> RolloutResult | ApplicationError | asyncio.CancelledError:
        """Return how the workflow ended: its result, why it failed, or that it was cancelled."""
        if self._main.cancelled():
            return asyncio.CancelledError()
        error = self._main.exception()
        if error is None:
            result: RolloutResult = self._main.result()
            return result
        if isinstance(error, ApplicationError):
            return error
        raise error

    def task(self, now: datetime, *jobs: Job) -> None:
        """Run one workflow task at ``now``: all jobs first, then what they let through."""
        self._log.append(_Logged(now, jobs))
        self.now = now
        self._enter()
        for job in jobs:
            self._take(job)
        while True:
            self.loop.settle()
            if not self._let_through():
                break
        if not self._main.done() or self._main.cancelled():
            return
        error = self._main.exception()
        if error is not None and not isinstance(error, ApplicationError | asyncio.CancelledError):
            raise error

    def reset(self, tasks: int, run_id: str, now: datetime) -> "Execution":
        """Return a new run that has the history of the first ``tasks`` tasks, and every later message again."""
        first = self._log[0]
        run = Execution(self.loop, self.workflow_id, run_id, self.request, first.at, was_reset=True)
        for logged in self._log[1:tasks]:
            run.task(logged.at, *logged.jobs)
        for asked in run.asked:
            asked.is_history = not asked.is_pending
        again = [job for logged in self._log[tasks:] for job in logged.jobs if isinstance(job, Message)]
        run.task(now, Reseed(), *again)
        return run

    def close(self) -> None:
        """Forget a run that was terminated."""
        self._enter()
        while left := asyncio.all_tasks(self.loop):
            for task in left:
                task.cancel()
            self.loop.settle()

    # What the server does with a job.

    def _take(self, job: Job) -> None:
        match job:
            case Cancel():
                self._main.cancel()
            case Reseed():
                for callback in self._of_seeds:
                    callback(0)
            case Answer():
                self._answer(self.asked[job.step], job.value)
            case Message(update=True):
                self._update(job)
            case Message():
                handler = _definition.signals[job.name].bind_fn(self._workflow)
                self._inside(lambda: handler(job.payload))

    def _update(self, message: Message) -> None:
        definition = _definition.updates[message.name]
        if message.request_id:
            info = workflow.UpdateInfo(id=message.request_id, name=message.name)
            context = copy_context()
            context.run(workflow._set_current_update_info, info)  # noqa: SLF001 - as the SDK sets it
            context.run(self._take_update, definition, message)
        else:
            self._take_update(definition, message)

    def _take_update(self, definition: Any, message: Message) -> None:
        try:
            self._inside(lambda: definition.bind_validator(self._workflow)(message.payload))
        except ApplicationError:
            return
        task = self._spawn(definition.bind_fn(self._workflow)(message.payload))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.calls.append(Call(message, task))

    def _answer(self, asked: Asked, value: BaseModel | ApplicationError | None) -> None:
        if not asked.is_pending:
            return
        asked.is_pending = False
        if isinstance(value, ApplicationError):
            error = ActivityError(
                "activity failed",
                scheduled_event_id=1,
                started_event_id=2,
                identity="test",
                activity_type=asked.name,
                activity_id="1",
                retry_state=None,
            )
            error.__cause__ = value
            asked.future.set_exception(error)
        else:
            asked.future.set_result(value)

    def _let_through(self) -> bool:
        waiting = [one for one in self._waiting if not one.future.done()]
        self._waiting = waiting
        for one in waiting:
            if self._inside(one.condition):
                one.future.set_result(None)
            elif one.until is not None and one.until <= self.now:
                one.future.set_exception(TimeoutError())
        return any(one.future.done() for one in waiting)

    # The loop.

    def _enter(self) -> None:
        self.loop.__dict__["__temporal_workflow_runtime"] = self

    def _inside(self, call: Callable[[], T]) -> T:
        async def inside() -> T:
            return call()

        return self.loop.run_until_complete(inside())

    def _spawn(self, coroutine: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        return self.loop.create_task(coroutine)

    # What a workflow asks of its runtime.

    def workflow_info(self) -> SimpleNamespace:
        return SimpleNamespace(
            workflow_id=self.workflow_id,
            run_id=self.run_id,
            start_time=self._started_at,
            workflow_start_time=self._started_at,
            continued_run_id=None,
            cron_schedule=None,
            retry_policy=None,
            get_current_history_length=lambda: self.tasks,
        )

    def workflow_memo_value(self, _: str, default: T, **__: object) -> T:
        return default

    def workflow_patch(self, identity: str, **_: object) -> bool:
        """Every run is a new one, and nothing is replayed; none lives long enough to continue as new."""
        return identity != MOVES_ON

    def workflow_register_random_seed_callback(self, callback: Callable[[int], None]) -> None:
        self._of_seeds.append(callback)

    def workflow_time_ns(self) -> int:
        return (self.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000

    def workflow_upsert_search_attributes(self, *_: object, **__: object) -> None:
        """Search attributes are for people."""

    def workflow_set_current_details(self, _: str) -> None:
        """Details are for people."""

    def workflow_all_handlers_finished(self) -> bool:
        return all(call.task.done() for call in self.calls)

    def workflow_start_activity(
        self,
        name: str,
        *args: BeginStep | Step,
        **_: object,
    ) -> "asyncio.Future[BaseModel | None]":
        (step,) = args
        sent = type(step).model_validate_json(step.model_dump_json())
        asked = Asked(name, sent, self.loop.create_future(), self.now)
        self.asked.append(asked)
        return asked.future

    async def workflow_wait_condition(
        self,
        condition: Callable[[], bool],
        *,
        timeout: float | None = None,
        **_: object,
    ) -> None:
        until = None if timeout is None else self.now + timedelta(seconds=timeout)
        waiting = _Waiting(condition, until, self.loop.create_future())
        self._waiting.append(waiting)
        await waiting.future
