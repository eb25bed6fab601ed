"""Workflows that run although the table has ended their rollout, or does not know it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from temporalio.service import RPCError

from celadon.cli.doctor.findings import Diagnosis, Mended, mendable, odd, wrong
from celadon.cli.session import Session
from celadon.client.running_workflows import RunningWorkflow, running_workflows, terminate_run
from celadon.client.workflow_condition import read_condition
from celadon.domain.language.moments import span
from celadon.table.read.inspection import Inspection, RecordedRun, read_recorded_runs

_IN_PASSING: Final = timedelta(seconds=30)
"""A workflow begins before its row is there, and ends after its row has; so long neither is worth a word."""


async def check_left_workflows(session: Session, inspection: Inspection) -> AsyncIterator[Diagnosis]:
    """Compare the workflows that run with the rollouts of the table; the mend ends one that can do nothing more."""
    try:
        workflows = await running_workflows(await session.temporal())
    except RPCError as error:
        yield wrong(
            "workflows",
            f"cannot be listed: {error.message}",
            why="one that was left running keeps the next rollout of its deployment from starting",
            next_step="check that you may list workflows of the namespace",
        )
        return
    runs = await session.read(lambda tx: read_recorded_runs(tx, [one.workflow_id for one in workflows]))
    unfinished = {run.workflow_id for run in runs if run.ended_at is None}
    for workflow in workflows:
        # One that was reset has another run than its rollout; what a person has reset is theirs to end.
        own = next((run for run in runs if run.run_id == workflow.run_id), None)
        diagnosis = None if workflow.workflow_id in unfinished else await _judge(session, workflow, own, inspection)
        if diagnosis is not None:
            yield diagnosis


async def _judge(
    session: Session,
    workflow: RunningWorkflow,
    own: RecordedRun | None,
    inspection: Inspection,
) -> Diagnosis | None:
    check = f"workflow {workflow.workflow_id}"
    if own is None or own.ended_at is None:
        waited = inspection.at - workflow.started_at
        if waited < _IN_PASSING:
            return None
        condition = await read_condition(await session.temporal(), workflow.workflow_id)
        stuck = f": {condition.told}" if condition is not None and condition.is_stuck else ""
        return odd(
            check,
            f"runs since {span(waited)}, but no worker has registered a rollout of it{stuck}",
            why="it does nothing, and keeps other rollouts of its deployment from starting",
            next_step="start a worker ('celadon worker'), or see the log of the one that runs; to give it up: "
            f"'temporal workflow terminate -w {workflow.workflow_id}'",
        )
    if inspection.at - own.ended_at < _IN_PASSING:
        return None

    async def mend() -> Mended:
        ended = await terminate_run(
            await session.temporal(),
            workflow,
            f"rollout {own.rollout} has ended in the table; ended by 'celadon doctor --fix'",
        )
        return Mended(done="terminated it" if ended else "nothing: it has just ended by itself")

    return mendable(
        check,
        f"runs, but its rollout {own.rollout} has ended ({own.outcome}) {span(inspection.at - own.ended_at)} ago",
        why="every step of it is refused, and it keeps the next rollout of its deployment from starting",
        next_step=f"end it with 'temporal workflow terminate -w {workflow.workflow_id}'",
        remedy="terminate this run of it; the table has nothing left of it that would need to be cleaned up",
        mend=mend,
    )
