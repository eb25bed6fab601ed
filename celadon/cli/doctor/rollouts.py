"""Rollouts that the table holds for unfinished although their workflow does not get on, or does not run any more."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from temporalio.service import RPCError

from celadon.cli.doctor.findings import Diagnosis, Mended, fine, mendable, odd, wrong
from celadon.cli.doctor.keepers_writes import write_as_keeper
from celadon.cli.session import Session
from celadon.client.patience import CouldNotAnswerError, NoAnswerError
from celadon.client.running_workflows import RunState, run_state
from celadon.client.workflow_condition import read_condition
from celadon.domain.decisions.workflow_condition import (
    WorkflowCondition,
    WorkflowState,
    condition_of_query,
    unknown_condition,
)
from celadon.domain.language.errors import RefusedError
from celadon.table.core.unfinished_rollouts import UnfinishedRollout
from celadon.table.read.inspection import Inspection, UnfinishedFinding
from celadon.table.replicas.abandoned_rollouts import abandon_rollout

_ANSWERS_WITHIN: Final = timedelta(seconds=5)


async def check_rollouts(session: Session, inspection: Inspection) -> AsyncIterator[Diagnosis]:
    """Ask Temporal for every unfinished rollout; the mend ends one that was left as the keeper ends it."""
    keeper_lives = inspection.keeper is not None and inspection.keeper.alive
    for unfinished in inspection.unfinished:
        yield await _check(session, unfinished, keeper_lives=keeper_lives)


async def _check(session: Session, unfinished: UnfinishedFinding, *, keeper_lives: bool) -> Diagnosis:
    check = f"rollout {unfinished.rollout}"
    finding = f"{unfinished.deployment} is in {unfinished.phase.value}"
    try:
        condition = await read_condition(await session.temporal(), unfinished.workflow_id)
        if condition is not None:
            return await _check_running(session, unfinished, condition)
        running, begun_by = await _states(session, unfinished)
    except RPCError as error:
        return odd(
            check,
            f"{finding}; Temporal did not say whether its workflow runs: {error.message}",
            why="one that does not must be ended",
            next_step="try again",
        )
    if running is RunState.RUNNING:
        return fine(check, f"{finding}, and its workflow has just begun to run")
    why = "its replicas run for nothing, and the deployment counts as under way"
    next_step = (
        "the keeper ends such a rollout within a minute; when it stays, see the worker's log"
        if keeper_lives
        else "start a worker, whose keeper ends it"
    )
    if begun_by is RunState.UNKNOWN:
        client = await session.temporal()
        return wrong(
            check,
            f"{finding}, but Temporal does not know the run {unfinished.run_id} of {unfinished.workflow_id} that "
            "began it",
            why=why,
            next_step="make sure that the workers use this Temporal too "
            f"({client.service_client.config.target_host}, namespace {client.namespace}); if it has lost what it "
            f"knew, {next_step}",
        )

    async def mend() -> Mended:
        return await _end(session, unfinished, keeper_lives=keeper_lives)

    return mendable(
        check,
        f"{finding}, but its workflow {unfinished.workflow_id} does not run any more",
        why=why,
        next_step=next_step,
        remedy="end it as failed, as the keeper does: before the switch green is closed, after it blue",
        mend=mend,
    )


async def _check_running(session: Session, unfinished: UnfinishedFinding, condition: WorkflowCondition) -> Diagnosis:
    """Say whether a workflow that runs gets on; one without a task is asked, since only that finds another version."""
    check = f"rollout {unfinished.rollout}"
    finding = f"{unfinished.deployment} is in {unfinished.phase.value}"
    if condition.state is WorkflowState.HEALTHY:
        try:
            await (await session.rollouts()).status(unfinished.deployment, patience=_ANSWERS_WITHIN)
        except CouldNotAnswerError as error:
            condition = condition_of_query(unfinished.workflow_id, error.failure)
        except RefusedError:
            return fine(check, f"{finding}, and its workflow has just ended")
        except NoAnswerError as error:
            condition = unknown_condition(str(error))
    if condition.state is WorkflowState.HEALTHY:
        return fine(check, f"{finding}, and its workflow runs")
    why = "no promotion, abort or timer of it takes effect"
    if condition.state is WorkflowState.UNKNOWN:
        return odd(check, f"{finding}; {condition.told}", why=f"if it does not, {why}", next_step=condition.next_step)
    return wrong(check, f"{finding}, but does not get on: {condition.told}", why=why, next_step=condition.next_step)


async def _states(session: Session, unfinished: UnfinishedFinding) -> tuple[RunState, RunState]:
    """Return how the latest run of a rollout's workflow is, and the one that began the rollout.

    That Temporal knows the latter is the proof that it is the rollout's own Temporal, and not one that somebody's
    environment names by mistake, in which nothing of all that runs elsewhere would be found.
    """
    client = await session.temporal()
    latest = await run_state(client, unfinished.workflow_id)
    return latest, await run_state(client, unfinished.workflow_id, unfinished.run_id)


async def _end(session: Session, unfinished: UnfinishedFinding, *, keeper_lives: bool) -> Mended:
    # A new rollout may have begun under the same workflow id while the other checks ran.
    if await (await session.rollouts()).is_running(unfinished.workflow_id) is not False:
        return Mended(done="nothing: a workflow of that id runs again, and ends the older rollout when it begins")
    left = UnfinishedRollout(
        rollout=unfinished.rollout,
        deployment=unfinished.deployment,
        workflow_id=unfinished.workflow_id,
    )
    ended = await write_as_keeper(session.table, lambda tx, fence: abandon_rollout(tx, fence, left, "terminated"))
    if not ended:
        return Mended(done="nothing: the keeper has just ended it")
    stops = "the keeper stops" if keeper_lives else "the next keeper stops"
    return Mended(done=f"ended it as failed (terminated); {stops} the replicas of its other colour")
