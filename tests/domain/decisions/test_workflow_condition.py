"""Whether a workflow gets on, decided from what Temporal says."""

from datetime import UTC, datetime, timedelta

import pytest

from celadon.domain.decisions.workflow_condition import (
    LONGEST_MESSAGE,
    PendingTask,
    StepFailure,
    TaskFailure,
    TaskFault,
    TaskReading,
    WorkflowCondition,
    WorkflowState,
    condition_of_query,
    judge_workflow,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
JUST = NOW - timedelta(seconds=3)
LONG_AGO = NOW - timedelta(minutes=4)
DUPLICATE = "IntegrityError: duplicate key value"
FAILED = TaskFailure(fault=TaskFault.FAILURE, message="boom", at=LONG_AGO)


def task(attempt: int = 1, scheduled_at: datetime | None = JUST, *, taken: bool = False) -> PendingTask:
    return PendingTask(attempt=attempt, scheduled_at=scheduled_at, taken=taken)


def step(attempt: int, *, is_outage: bool = False) -> StepFailure:
    return StepFailure(step="begin", attempt=attempt, message=DUPLICATE, is_outage=is_outage, at=LONG_AGO)


def judge(
    pending: PendingTask | None = None,
    failure: TaskFailure | None = None,
    polled_at: datetime | None = JUST,
    *,
    polls_known: bool = True,
    steps: tuple[StepFailure, ...] = (),
) -> WorkflowCondition:
    reading = TaskReading(pending=pending, failure=failure, steps=steps, polled_at=polled_at, polls_known=polls_known)
    return judge_workflow("rollout-chat", reading, NOW)


@pytest.mark.parametrize(
    ("condition", "state"),
    [
        (judge(), WorkflowState.HEALTHY),
        (judge(task()), WorkflowState.HEALTHY),
        (judge(task(taken=True, scheduled_at=LONG_AGO)), WorkflowState.HEALTHY),
        (judge(task(scheduled_at=None)), WorkflowState.HEALTHY),
        (judge(task(scheduled_at=NOW + timedelta(days=1))), WorkflowState.HEALTHY),
        (judge(task(scheduled_at=LONG_AGO)), WorkflowState.NOT_PICKED_UP),
        (judge(polled_at=None), WorkflowState.NOT_PICKED_UP),
        (judge(polled_at=LONG_AGO), WorkflowState.NOT_PICKED_UP),
        (judge(polled_at=None, polls_known=False), WorkflowState.HEALTHY),
        (judge(task(), FAILED), WorkflowState.FAILING),
        (judge(task(attempt=2)), WorkflowState.FAILING),
        (judge(task(attempt=3), FAILED, polled_at=None), WorkflowState.FAILING),
        (judge(None, FAILED), WorkflowState.HEALTHY),
        (judge(steps=(step(2),)), WorkflowState.HEALTHY),
        (judge(steps=(step(3),)), WorkflowState.FAILING),
        (judge(steps=(step(30, is_outage=True),)), WorkflowState.HEALTHY),
        (judge(steps=(step(30, is_outage=True), step(3))), WorkflowState.FAILING),
        (judge(steps=(step(3),), polled_at=None), WorkflowState.NOT_PICKED_UP),
    ],
)
def test_a_workflow_gets_on_unless_its_task_fails_or_nobody_takes_it(
    condition: WorkflowCondition,
    state: WorkflowState,
) -> None:
    assert condition.state is state
    assert bool(condition.told) is bool(condition.next_step) is condition.is_stuck


def test_a_failure_is_told_with_its_moment_and_attempt() -> None:
    condition = judge(task(attempt=7), FAILED)

    assert condition.told == "its workflow task fails since 2026-03-01 11:56:00 UTC (attempt 7): boom"
    assert (condition.since, condition.attempt, condition.message) == (LONG_AGO, 7, "boom")


def test_a_failing_step_is_told_with_its_attempt_and_the_ways_out() -> None:
    condition = judge(steps=(step(7),))

    assert condition.fault is TaskFault.STEP
    assert condition.told == (
        f"its step begin fails (attempt 7, the last one ended at 2026-03-01 11:56:00 UTC): {DUPLICATE}"
    )
    assert (condition.attempt, condition.message) == (7, DUPLICATE)
    assert "celadon db upgrade" in condition.next_step
    assert "temporal workflow terminate -w rollout-chat" in condition.next_step


def test_a_failing_task_without_a_worker_says_both() -> None:
    assert judge(task(attempt=3), FAILED, polled_at=LONG_AGO).told.endswith("boom; no worker asks for tasks now")


def test_what_a_worker_says_is_masked_made_one_line_and_cut() -> None:
    said = "api_key=abcdefgh1234\n\x1b[31m" + "é" * 5_000

    message = judge(task(), FAILED.model_copy(update={"message": said})).message

    assert message.startswith("api_key=[token] \\x1b[31mé")
    assert LONGEST_MESSAGE - 2 <= len(message.encode()) <= LONGEST_MESSAGE


@pytest.mark.parametrize("fault", TaskFault)
def test_every_fault_names_a_way_out(fault: TaskFault) -> None:
    condition = judge(task(), FAILED.model_copy(update={"fault": fault}))

    assert "temporal workflow terminate -w rollout-chat" in condition.next_step


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("[TMPRL1100] Nondeterminism error: no command", TaskFault.NONDETERMINISM),
        ("KeyError: 'green'", TaskFault.FAILURE),
    ],
)
def test_a_question_that_fails_tells_another_version_from_an_error(said: str, fault: TaskFault) -> None:
    condition = condition_of_query("rollout-chat", said)

    assert (condition.state, condition.fault) == (WorkflowState.FAILING, fault)
