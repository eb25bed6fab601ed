"""What happened: rollouts and the audit log, from the table alone, however long Temporal keeps its own history."""

from sqlalchemy import ColumnElement, false, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteSetId
from celadon.table.core.models import Rollout, RolloutEvent
from celadon.table.core.policies import read_policy
from celadon.table.records.events import AuditEvent
from celadon.table.records.rollouts import RolloutRecord


def record_of(row: Rollout) -> RolloutRecord:
    """Return a rollout's row as a plain value."""
    return RolloutRecord(
        rollout=RolloutId(row.id),
        deployment=row.deployment,
        workflow_id=row.workflow_id,
        run_id=row.run_id,
        from_revision=None if row.from_revision is None else RevisionNumber(row.from_revision),
        to_revision=RevisionNumber(row.to_revision),
        blue_set=None if row.blue_set is None else RouteSetId(row.blue_set),
        green_set=None if row.green_set is None else RouteSetId(row.green_set),
        replicas=row.replicas,
        policy=read_policy(row.policy),
        gated=row.gated,
        rollback_window=row.rollback_window,
        next=row.next,
        requested_by=row.requested_by,
        reason=row.reason,
        phase=row.phase,
        phase_since=row.phase_since,
        started_at=row.started_at,
        switched_at=row.switched_at,
        switch_epoch=None if row.switch_epoch is None else Epoch(row.switch_epoch),
        switched_back_at=row.switched_back_at,
        switch_back_epoch=None if row.switch_back_epoch is None else Epoch(row.switch_back_epoch),
        awaits_epoch=None if row.awaits_epoch is None else Epoch(row.awaits_epoch),
        awaits_signal=row.awaits_signal,
        outcome=row.outcome,
        outcome_reason=row.outcome_reason,
        evidence={name: str(value) for name, value in row.evidence.items()},
        completed_at=row.completed_at,
        requests_cut=row.requests_cut,
    )


def audit_event_of(row: RolloutEvent) -> AuditEvent:
    """Return a row as a plain value."""
    return AuditEvent(
        id=row.id,
        rollout=None if row.rollout is None else RolloutId(row.rollout),
        at=row.at,
        kind=row.kind,
        actor=row.actor,
        issuer=row.issuer,
        door=row.door,
        verified=row.verified,
        reason=row.reason,
        evidence={name: str(value) for name, value in row.evidence.items()},
    )


async def latest_rollout(tx: AsyncSession, deployment: str) -> RolloutRecord | None:
    """Return the rollout of a deployment that began last; nothing when there was none."""
    row = await tx.scalar(
        select(Rollout).where(Rollout.deployment == deployment).order_by(Rollout.id.desc()).limit(1),
    )
    return None if row is None else record_of(row)


async def rollout_of_run(tx: AsyncSession, workflow_id: str, run_id: str) -> RolloutRecord | None:
    """Return the rollout that a workflow's run has registered; nothing while it has not."""
    row = await tx.scalar(select(Rollout).where(Rollout.workflow_id == workflow_id, Rollout.run_id == run_id))
    return None if row is None else record_of(row)


async def read_rollout(tx: AsyncSession, deployment: str, rollout: int) -> RolloutRecord | None:
    """Return one rollout of a deployment; nothing when it has none of this number."""
    row = await tx.scalar(select(Rollout).where(Rollout.deployment == deployment, Rollout.id == rollout))
    return None if row is None else record_of(row)


async def list_rollouts(
    tx: AsyncSession, deployment: str, *, before: int | None = None, limit: int
) -> tuple[RolloutRecord, ...]:
    """Return the last rollouts of a deployment that are older than ``before``, newest first."""
    query = select(Rollout).where(Rollout.deployment == deployment)
    if before is not None:
        query = query.where(Rollout.id < before)
    return tuple(record_of(row) for row in await tx.scalars(query.order_by(Rollout.id.desc()).limit(limit)))


async def read_events(
    tx: AsyncSession,
    deployment: str,
    *,
    rollout: int | None = None,
    since: int | None = None,
    before: int | None = None,
    limit: int,
) -> tuple[AuditEvent, ...]:
    """Return the last lines of a deployment's audit log, newest first.

    Args:
        tx: reads them.
        deployment: whose.
        rollout: those of this rollout alone.
        since: those of this rollout and of later ones, and those about the deployment since the first of these.
        before: those of rollouts that are older than this one, and those about the deployment from before it.
        limit: how many at most.

    """
    query = select(RolloutEvent).where(RolloutEvent.deployment == deployment)
    if rollout is not None:
        query = query.where(RolloutEvent.rollout == rollout)
    if since is not None:
        query = query.where(_is_since(deployment, since))
    if before is not None:
        query = query.where(~_is_since(deployment, before))
    rows = (await tx.scalars(query.order_by(RolloutEvent.id.desc()).limit(limit))).all()
    return tuple(audit_event_of(row) for row in sorted(rows, key=lambda row: (row.at, row.id), reverse=True))


def _is_since(deployment: str, rollout: int) -> ColumnElement[bool]:
    """Return whether a line is of a rollout or of a later one, or about the deployment since the first such line."""
    first = select(func.min(RolloutEvent.id)).where(
        RolloutEvent.deployment == deployment, RolloutEvent.rollout >= rollout
    )
    return func.coalesce(RolloutEvent.rollout >= rollout, RolloutEvent.id > first.scalar_subquery(), false())
