"""How a rollout ends: by its own last step, or because its workflow did without saying so."""

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.failure_cause import with_cause
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import (
    DeploymentLifecycle,
    RolloutOutcome,
    RolloutPhase,
)
from celadon.domain.language.steps import Finished, FinishStep
from celadon.table.core.epoch import raise_epoch_now
from celadon.table.core.locks import LockedDeployment, lock_deployment, owning, read_rollout
from celadon.table.core.models import Deployment, Rollout, RouteSet
from celadon.table.core.policies import read_policy
from celadon.table.core.replica_rules import is_open
from celadon.table.rollouts.audit import write_event, write_notes
from celadon.table.rollouts.next_rollouts import release
from celadon.table.rollouts.route_sets import count_cut, drain_set

_LAST_ERROR: Final = "last_error"
"""What the evidence of a rollout calls the causes of its green's failures."""


async def finish(tx: AsyncSession, step: FinishStep) -> Finished:
    """Write the outcome and give the deployment free for the next rollout. Twice gives the same answer.

    The answer has the outcome that the table bears out, should the workflow have believed another one.

    Raises:
        RefusedError: the rollout no longer owns its deployment.

    """
    deployment = await lock_deployment(tx, step.deployment)
    known = await read_rollout(tx, deployment, step.rollout)
    if known is not None and known.outcome is not None and known.outcome is _what_happened(known, step.outcome):
        return _finished(deployment.row, known)
    rollout = owning(known, deployment, step.rollout)
    await write_notes(tx, step)
    await _close_all_but_live(tx, deployment, rollout)
    outcome, reason, evidence = _what_happened(rollout, step.outcome), step.reason, dict(step.evidence)
    cause = await _cause_of_failure(tx, rollout)
    if cause and outcome is not RolloutOutcome.PROMOTED:
        # A rollout hears of edges alone, and of none while its green stays sick: the table knows the last answer.
        if outcome is RolloutOutcome.FAILED:
            reason = with_cause(reason, evidence.get(_LAST_ERROR, ""), cause)
        evidence[_LAST_ERROR] = cause
    await _end(tx, deployment, rollout, outcome, reason, step.at)
    rollout.evidence = evidence
    return _finished(deployment.row, rollout)


async def _cause_of_failure(tx: AsyncSession, rollout: Rollout) -> str:
    """Return what the replicas of a green that was never live have failed with; empty when nothing went wrong."""
    if rollout.green_set is None or rollout.switch_epoch is not None:
        return ""
    return await tx.scalar(select(RouteSet.last_error).where(RouteSet.id == rollout.green_set)) or ""


async def abandon(tx: AsyncSession, deployment: LockedDeployment, rollout: Rollout, why: str, at: datetime) -> None:
    """End a rollout whose workflow is gone: before the switch green is closed, after it blue."""
    await _close_all_but_live(tx, deployment, rollout)
    await _end(tx, deployment, rollout, RolloutOutcome.FAILED, why, at)
    await tx.flush()


def _what_happened(rollout: Rollout, believed: RolloutOutcome) -> RolloutOutcome:
    """Return the outcome that the table bears out.

    A workflow that was reset to a moment before its switch may believe that nothing has switched.
    """
    if believed is RolloutOutcome.FAILED or rollout.switch_epoch is None:
        return believed
    return RolloutOutcome.PROMOTED if rollout.switch_back_epoch is None else RolloutOutcome.ROLLED_BACK


def _finished(deployment: Deployment, rollout: Rollout) -> Finished:
    if rollout.completed_at is None:
        raise LookupError(f"rollout {rollout.id} has not ended")
    return Finished(
        epoch=Epoch(deployment.epoch),
        switched_at=rollout.switched_at,
        completed_at=rollout.completed_at,
        requests_cut=rollout.requests_cut,
        outcome=rollout.outcome,
        reason=rollout.outcome_reason,
        last_error=rollout.evidence.get(_LAST_ERROR, ""),
    )


async def _close_all_but_live(tx: AsyncSession, deployment: LockedDeployment, rollout: Rollout) -> None:
    """Let every open set but the live one drain, so that an ended rollout leaves nothing behind."""
    left = (
        await tx.scalars(
            select(RouteSet)
            .where(
                RouteSet.deployment == deployment.name,
                is_open,
                RouteSet.id.is_distinct_from(deployment.row.live_set),
            )
            .order_by(RouteSet.id)
            .with_for_update(),
        )
    ).all()
    if not left:
        return
    timeout = read_policy(rollout.policy).drain_timeout
    epoch, now = await raise_epoch_now(tx, deployment.name)
    await tx.refresh(deployment.row, ["epoch"])
    for route_set in left:
        await drain_set(tx, route_set, epoch, now, timeout)
        await write_event(tx, deployment.name, rollout.id, "draining", evidence={"route_set": str(route_set.id)})


async def _end(
    tx: AsyncSession,
    locked: LockedDeployment,
    rollout: Rollout,
    outcome: RolloutOutcome,
    reason: str,
    at: datetime,
) -> None:
    deployment = locked.row
    rollout.outcome, rollout.outcome_reason, rollout.completed_at = outcome, reason, at
    rollout.phase, rollout.phase_since = RolloutPhase.COMPLETED, at
    rollout.awaits_epoch = rollout.awaits_signal = rollout.pending_abort = rollout.growth = None
    rollout.requests_cut = await count_cut(tx, rollout)
    if not deployment.lifecycle.is_deleted:
        lives = deployment.live_set is not None
        deployment.lifecycle = DeploymentLifecycle.READY if lives else DeploymentLifecycle.PENDING
    await write_event(tx, deployment.name, rollout.id, "completed", reason=reason, evidence={"outcome": outcome.value})
    await release(tx, locked, rollout, outcome, reason)
