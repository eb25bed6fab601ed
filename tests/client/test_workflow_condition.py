"""Rollouts that do not get on, on a real Temporal: what is told of them, and that the ways out as printed work."""

import asyncio
import re
import shlex
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus

from celadon.domain.decisions.workflow_condition import TaskFault, WorkflowState
from celadon.domain.language.contracts import GREEN_CHANGED, WORKFLOW_TYPE, workflow_id
from celadon.domain.language.states import RolloutPhase
from celadon.service.overview import ask_workflow
from celadon.service.rollout_view import NO_WORKFLOW
from celadon.stack.programs import temporal_program
from tests.client.conftest import Site, is_true, until

pytestmark = pytest.mark.parts

TOKEN = "sk-" + "abcdefgh" * 4


@workflow.defn(name=WORKFLOW_TYPE)
class BrokenBuild:
    """The rollout of a build that cannot even begin."""

    @workflow.run
    async def run(self, payload: Any = None) -> None:
        """Fail the task, as every error but Temporal's own does."""
        del payload
        raise ValueError(f"no module for {TOKEN}\x1b[31m" + "é" * 5_000)


@workflow.defn(name=WORKFLOW_TYPE)
class ChangedBuild:
    """The rollout of a build that begins with a timer, where the history has an activity."""

    @workflow.run
    async def run(self, payload: Any = None) -> None:
        """Wait, and ask for nothing."""
        del payload
        await workflow.sleep(timedelta(days=1))

    @workflow.signal(name=GREEN_CHANGED)
    def hear(self, payload: Any = None) -> None:
        """Take an edge of green."""
        del payload

    @workflow.query(name="status")
    def status(self) -> str:
        """Answer, if the history can be taken up."""
        return "here"


@workflow.defn(name=WORKFLOW_TYPE)
class BreaksAtSignals:
    """A rollout that waits, and that a signal breaks."""

    def __init__(self) -> None:
        """Wait."""
        self._over = False

    @workflow.run
    async def run(self, payload: Any = None) -> None:
        """Wait until it is over."""
        del payload
        await workflow.wait_condition(lambda: self._over)

    @workflow.signal
    def poison(self) -> None:
        """Break."""
        raise ValueError("poisoned")

    @workflow.query(name="status")
    def status(self) -> str:
        """Answer, if the history can be taken up."""
        return "here"


async def carry_out(told: str, verb: str, client: Client) -> None:
    """Run the ``temporal workflow`` command of a verb as it was printed."""
    found = re.search(rf"temporal (workflow {verb} [^;(]+)", told)
    assert found is not None, told
    process = await asyncio.create_subprocess_exec(
        str(temporal_program()),
        *shlex.split(found[1]),
        *("--address", client.service_client.config.target_host),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()


async def test_a_rollout_that_a_worker_carries_gets_on(site: Site) -> None:
    async with site.worker():
        await site.start()
        await until(lambda: is_true("provision_green" in site.script.names()))
        answer = await site.told(lambda answer: answer.status is not None)

    assert answer.condition is not None
    assert (answer.condition.state, answer.condition.told) == (WorkflowState.HEALTHY, "")


async def test_without_a_worker_a_rollout_is_not_picked_up(site: Site) -> None:
    await site.start()

    answer = await site.told_stuck()

    assert answer.status is None
    assert answer.stuck is not None
    assert answer.stuck.state is WorkflowState.NOT_PICKED_UP
    assert "no worker asks for the tasks of queue celadon" in answer.unanswered_because
    assert answer.stuck.since is not None
    assert "start a worker" in answer.stuck.next_step
    await carry_out(answer.stuck.next_step, "terminate", site.client)
    assert await site.execution() is WorkflowExecutionStatus.TERMINATED
    assert (await ask_workflow(site.rollouts, "chat")).unanswered_because == NO_WORKFLOW


async def test_a_task_that_no_worker_takes_is_told_although_one_was_there_before(site: Site) -> None:
    await site.wait_for_promotion()
    await site.occupy_open_polls()
    await site.edge()

    condition = await site.until_state(WorkflowState.NOT_PICKED_UP)

    assert "no worker has taken its task; one asked for tasks last at" in condition.told
    async with site.worker():
        await site.until_state(WorkflowState.HEALTHY)


async def test_a_broken_build_is_told_with_what_it_fails_with(site: Site) -> None:
    async with site.worker(BrokenBuild):
        await site.start()
        condition = await site.until_state(WorkflowState.FAILING)
        await until(lambda: _attempts(site, 2))
        answer = await site.told_stuck()

    assert (condition.fault, answer.status) == (TaskFault.FAILURE, None)
    assert answer.stuck is not None
    assert answer.stuck.attempt >= 2
    assert answer.unanswered_because.startswith("its workflow task fails since ")
    assert "no module for [token]\\x1b[31m" in condition.message
    assert len(condition.message.encode()) <= 1_000
    assert "upgrade or mend the workers" in condition.next_step
    async with site.worker():
        await until(lambda: is_true("provision_green" in site.script.names()))
        await site.until_state(WorkflowState.HEALTHY)


async def _attempts(site: Site, least: int) -> bool:
    return (await site.condition()).attempt >= least


async def test_a_signal_that_breaks_a_rollout_is_taken_back_by_the_reset_as_printed(site: Site) -> None:
    async with site.worker(BreaksAtSignals):
        await site.start()
        await site.until_state(WorkflowState.HEALTHY)
        handle = site.client.get_workflow_handle(workflow_id("chat"))
        assert await handle.query("status") == "here"
        await handle.signal("poison")
        condition = await site.until_state(WorkflowState.FAILING)
        assert condition.message == "poisoned"

        await carry_out(condition.next_step, "reset", site.client)

        await site.until_state(WorkflowState.HEALTHY)
        assert await handle.query("status") == "here"


async def test_another_version_of_the_workflow_is_told_once_a_task_comes(site: Site) -> None:
    await site.wait_for_promotion()
    async with site.worker(ChangedBuild):
        await site.edge()
        condition = await site.until_state(WorkflowState.FAILING)
        assert condition.fault is TaskFault.NONDETERMINISM
        assert "which another version began" in condition.told
        assert "start workers of the version that began it" in condition.next_step
    async with site.worker():
        await site.until_state(WorkflowState.HEALTHY)
        assert (await site.rollouts.status("chat")).phase is RolloutPhase.AWAITING_PROMOTION


async def test_another_version_of_the_workflow_is_told_before_any_task_comes(site: Site) -> None:
    """A rollout that waits has no task: only the question finds out that nobody can continue it."""
    await site.wait_for_promotion()
    async with site.worker(ChangedBuild):
        answer = await site.told_stuck()

    assert answer.stuck is not None
    assert answer.stuck.fault is TaskFault.NONDETERMINISM
    assert "which another version began" in answer.unanswered_because


async def test_a_request_begins_anew_under_another_version_by_the_reset_as_printed(site: Site) -> None:
    async with site.worker(ChangedBuild):
        await site.start()
        await until(lambda: _answers(site))
    handle = site.client.get_workflow_handle(workflow_id("chat"))
    began_at = (await handle.describe()).start_time
    async with site.worker():
        await site.edge()
        condition = await site.until_state(WorkflowState.FAILING)
        assert condition.fault is TaskFault.NONDETERMINISM
        assert (await handle.describe()).start_time == began_at
        await carry_out(condition.next_step, "reset", site.client)

        await until(lambda: is_true("provision_green" in site.script.names()))
        await site.until_state(WorkflowState.HEALTHY)
    [begun] = site.script.inputs("begin")
    assert (await handle.describe()).start_time > began_at
    # Its door has signed the start for some minutes: the reset is no later start of it.
    assert begun.taken_at == began_at


async def _answers(site: Site) -> bool:
    answer: str = await site.client.get_workflow_handle(workflow_id("chat")).query("status")
    return answer == "here"


async def test_a_step_that_fails_for_ever_is_told_until_it_succeeds(site: Site) -> None:
    statement = "[SQL: INSERT INTO deployments VALUES ($1)]\n[parameters: ('chat',)]"
    duplicate = "(asyncpg.IntegrityError) <class 'UniqueViolationError'>: duplicate key value violates a constraint"
    site.script.faults["begin"] = ValueError(f"{duplicate}\nDETAIL: key (name)\n{statement}")
    async with site.worker():
        await site.start()
        # Until the worker has taken the workflow up, that is what is told.
        answer = await site.told(lambda one: one.stuck is not None and one.stuck.fault is TaskFault.STEP)

        assert answer.stuck is not None
        assert answer.stuck.state is WorkflowState.FAILING
        assert answer.stuck.message == "ValueError: duplicate key value violates a constraint"
        assert answer.unanswered_because.startswith("its step begin fails (attempt ")
        assert answer.stuck.attempt >= 3
        site.script.faults.clear()
        await until(lambda: is_true("provision_green" in site.script.names()))
        await site.until_state(WorkflowState.HEALTHY)


async def test_a_step_that_an_outage_holds_up_is_not_called_broken(site: Site) -> None:
    site.script.failures["begin"] = 1_000
    async with site.worker():
        await site.start()
        await until(lambda: is_true(site.script.names().count("begin") >= 4))
        assert (await site.condition()).state is WorkflowState.HEALTHY
        site.script.failures.clear()
        await until(lambda: is_true("provision_green" in site.script.names()))


async def test_a_temporal_that_does_not_answer_leaves_it_unknown(
    site: Site,
) -> None:
    await site.start()

    answer = await ask_workflow(site.rollouts, "chat", patience=timedelta(microseconds=1))

    assert answer.condition is not None
    assert answer.condition.state is WorkflowState.UNKNOWN
    assert answer.stuck is None
    assert "is not known: Temporal did not answer" in answer.unanswered_because
