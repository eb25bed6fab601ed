"""Whether a rollout's workflow gets on: by its pending workflow task and steps, their failures, and who polls."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never

from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import TASK_QUEUE
from celadon.domain.language.masking import mask
from celadon.domain.language.moments import utc
from celadon.domain.language.shown_text import one_line
from celadon.domain.language.text_bounds import first_bytes

UNPOLLED_AFTER: Final = timedelta(minutes=2)
"""A worker that waits for tasks asks anew each minute."""

NOT_TAKEN_AFTER: Final = timedelta(seconds=10)
"""How long a task may wait for a worker that is there. The clocks of Temporal and of who asks may differ by less."""

STEP_FAILS_AFTER: Final = 3
"""Attempts of a step of which the earlier ones have failed: one that fails once may be healed by the next."""

LONGEST_MESSAGE: Final = 1_000
"""Bytes that are shown of what a task or a step has failed with."""

_NONDETERMINISM_MARKS: Final = ("nondeterminism", "non-determinism", "nondeterministic", "tmprl1100")
"""A question that fails has no cause of its own, but in its text."""


class WorkflowState(StrEnum):
    """Whether a rollout's workflow gets on."""

    HEALTHY = "healthy"
    """Its tasks are done as they come, or it has none and a worker would take the next."""
    FAILING = "failing"
    """Its workflow task, or a step, fails each time that a worker takes it; nothing else goes on meanwhile."""
    NOT_PICKED_UP = "not_picked_up"
    """No worker takes its tasks."""
    UNKNOWN = "unknown"
    """Temporal could not be asked."""


class TaskFault(StrEnum):
    """What is wrong with a workflow task, or with a step, that fails."""

    NONDETERMINISM = "nondeterminism"
    """The workers' version decides otherwise than the one that wrote the history."""
    FAILURE = "failure"
    """The workflow's code, or a message that it was sent, has raised an error."""
    TIMEOUT = "timeout"
    """A worker has taken it and did not finish."""
    STEP = "step"
    """A step (an activity) fails at each attempt, and not because the database cannot be reached."""


class PendingTask(Record):
    """The workflow task that is pending."""

    attempt: int
    scheduled_at: datetime | None
    """When it was queued; of the first attempt where Temporal tells that."""
    taken: bool
    """Whether a worker works on it."""


class TaskFailure(Record):
    """How the last workflow task that has ended did so, when that was no success."""

    fault: TaskFault
    message: str
    """What the worker has said; empty when it said nothing."""
    at: datetime | None


class StepFailure(Record):
    """A step that is tried again and again, and how its last attempt ended."""

    step: str
    """The activity's name."""
    attempt: int
    """The attempt that runs or comes next."""
    message: str
    """What the last attempt has failed with."""
    is_outage: bool
    """Whether the database could not be reached, so that a later attempt may succeed by itself."""
    at: datetime | None
    """When the last attempt ended."""


class TaskReading(Record):
    """What Temporal says of a workflow that runs."""

    pending: PendingTask | None = None
    failure: TaskFailure | None = None
    steps: tuple[StepFailure, ...] = ()
    """The pending steps of which an attempt has failed."""
    polled_at: datetime | None = None
    """When a worker asked for tasks last, as far as Temporal remembers."""
    polls_known: bool = True
    """Whether Temporal has said who asks for tasks."""


class WorkflowCondition(Record):
    """Whether a rollout's workflow gets on, and what to do when it does not."""

    state: WorkflowState
    """Whether it gets on."""
    since: datetime | None = None
    """Since when it does not; nothing when it does, or when that is not known."""
    attempt: int = 0
    """Of its pending workflow task, or of the step that fails; 0 when none is pending."""
    fault: TaskFault | None = None
    """What is wrong with the task or the step, when it fails."""
    message: str = ""
    """What the task or the step has failed with; secrets are struck out, and a long text is cut."""
    told: str = ""
    """What is wrong, in a sentence; empty when nothing is."""
    next_step: str = ""
    """The ways out, with their commands; empty when nothing is wrong."""

    @property
    def is_stuck(self) -> bool:
        """Whether the rollout does not get on, whatever it is sent."""
        return self.state in {WorkflowState.FAILING, WorkflowState.NOT_PICKED_UP}


GETS_ON: Final = WorkflowCondition(state=WorkflowState.HEALTHY)


def unknown_condition(why: str) -> WorkflowCondition:
    """Return that it is not known whether a workflow gets on."""
    return WorkflowCondition(
        state=WorkflowState.UNKNOWN,
        told=f"whether its workflow gets on is not known: {_shown(why)}",
        next_step="see that Temporal answers: celadon doctor",
    )


def judge_workflow(workflow_id: str, reading: TaskReading, now: datetime) -> WorkflowCondition:
    """Return whether a workflow that runs gets on.

    A failed task comes first: it is tried again and again, and waits for a worker in between. A step fails only where
    a worker tries it.
    """
    pending, failure = reading.pending, reading.failure
    unpolled = reading.polls_known and (reading.polled_at is None or now - reading.polled_at > UNPOLLED_AFTER)
    if pending is not None and failure is not None:
        return failing(workflow_id, failure, attempt=pending.attempt, unpolled=unpolled)
    if pending is not None and pending.attempt > 1:
        unread = TaskFailure(fault=TaskFault.FAILURE, message="", at=None)
        return failing(workflow_id, unread, attempt=pending.attempt, unpolled=unpolled)
    if unpolled:
        waits_since = reading.polled_at if pending is None else pending.scheduled_at
        return _not_picked_up(workflow_id, waits_since, pending, f"no worker asks for the tasks of queue {TASK_QUEUE}")
    fails = next((one for one in reading.steps if one.attempt >= STEP_FAILS_AFTER and not one.is_outage), None)
    if fails is not None:
        return _step_fails(workflow_id, fails)
    if pending is None or pending.taken or pending.scheduled_at is None or now - pending.scheduled_at < NOT_TAKEN_AFTER:
        return GETS_ON
    asked = "" if reading.polled_at is None else f"; one asked for tasks last at {utc(reading.polled_at)}"
    return _not_picked_up(workflow_id, pending.scheduled_at, pending, f"no worker has taken its task{asked}")


def failing(workflow_id: str, failure: TaskFailure, *, attempt: int = 0, unpolled: bool = False) -> WorkflowCondition:
    """Return that a workflow cannot go on, because its task fails or its worker cannot take up its history."""
    message = _shown(failure.message)
    since = "" if failure.at is None else f" since {utc(failure.at)}"
    tries = f" (attempt {attempt})" if attempt else ""
    match failure.fault:
        case TaskFault.NONDETERMINISM:
            what = "the workers' version cannot continue its workflow, which another version began"
        case TaskFault.TIMEOUT:
            what = "the worker that took its workflow task did not finish"
        case TaskFault.FAILURE:
            what = "its workflow task fails"
        case TaskFault.STEP:
            what = "a step of it fails"
        case _ as unreachable:
            assert_never(unreachable)
    what += f"{since}{tries}" + (f": {message}" if message else "")
    what += "; no worker asks for tasks now" if unpolled else ""
    return WorkflowCondition(
        state=WorkflowState.FAILING,
        since=failure.at,
        attempt=attempt,
        fault=failure.fault,
        message=message,
        told=what,
        next_step=_way_out(workflow_id, failure.fault),
    )


def _step_fails(workflow_id: str, failure: StepFailure) -> WorkflowCondition:
    message = _shown(failure.message)
    last = "" if failure.at is None else f", the last one ended at {utc(failure.at)}"
    return WorkflowCondition(
        state=WorkflowState.FAILING,
        attempt=failure.attempt,
        fault=TaskFault.STEP,
        message=message,
        told=f"its step {failure.step} fails (attempt {failure.attempt}{last})" + (f": {message}" if message else ""),
        next_step=_way_out(workflow_id, TaskFault.STEP),
    )


def condition_of_query(workflow_id: str, failure: str) -> WorkflowCondition:
    """Return why a workflow that has no task pending cannot answer: its worker cannot take up its history.

    A rollout that waits has no task that could fail. After an upgrade only a question finds out.
    """
    is_other = any(mark in failure.lower() for mark in _NONDETERMINISM_MARKS)
    fault = TaskFault.NONDETERMINISM if is_other else TaskFault.FAILURE
    return failing(workflow_id, TaskFailure(fault=fault, message=failure, at=None))


def _way_out(workflow_id: str, fault: TaskFault) -> str:
    end = _end(workflow_id)
    reset = f"temporal workflow reset -w {workflow_id}"
    match fault:
        case TaskFault.NONDETERMINISM:
            return (
                "start workers of the version that began it, until it has ended; or begin its request anew under this "
                f"version: {reset} --type FirstWorkflowTask --reapply-exclude All --reason upgrade; or {end}"
            )
        case TaskFault.TIMEOUT:
            return f"see the worker's log, and that a worker runs: the task is tried again by itself; or {end}"
        case TaskFault.STEP:
            return (
                "see the worker's log for its trace, and put right what the error names (a missing migration: "
                "celadon db upgrade; else the database, or upgrade the workers): the step is tried again by itself, "
                f"every ten seconds; or {end}"
            )
        case TaskFault.FAILURE:
            return (
                "upgrade or mend the workers: the task is tried again by itself, within ten minutes; if a signal broke "
                f"it, go back to before it: {reset} --type LastWorkflowTask --reapply-exclude Signal --reason broken; "
                f"or {end}"
            )
        case _ as unreachable:
            assert_never(unreachable)


def _not_picked_up(
    workflow_id: str,
    since: datetime | None,
    pending: PendingTask | None,
    why: str,
) -> WorkflowCondition:
    waits = f" since {utc(since)}" if since is not None else ""
    what = f"its workflow task waits{waits}" if pending is not None else f"its workflow has no worker{waits}"
    return WorkflowCondition(
        state=WorkflowState.NOT_PICKED_UP,
        since=since,
        attempt=0 if pending is None else pending.attempt,
        told=f"{what}: {why}",
        next_step="start a worker ('celadon worker') with the Temporal address and namespace of this one, or see the "
        f"log of the one that runs; or {_end(workflow_id)}",
    )


def _end(workflow_id: str) -> str:
    return (
        f"give it up: temporal workflow terminate -w {workflow_id} (a worker's keeper then ends the rollout as failed, "
        "and closes green, or after the switch blue)"
    )


def _shown(text: str) -> str:
    # Masked first: half of a secret would not be known as one.
    return first_bytes(one_line(mask(text)).strip(), LONGEST_MESSAGE)
