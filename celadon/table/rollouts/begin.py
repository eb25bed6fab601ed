"""Begin: registers a rollout, its revision and its policy, and takes the deployment over."""

from datetime import datetime
from typing import Final

from sqlalchemy import and_, bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Authority, Verdict, spent
from celadon.domain.decisions.automatic_switch import asks_for_gate
from celadon.domain.language.attestation import START
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RevisionNumber, RolloutId, RouteSetId
from celadon.domain.language.states import DeploymentLifecycle, RolloutPhase
from celadon.domain.language.steps import BeginStep, Begun
from celadon.table.core.author import Asker
from celadon.table.core.epoch import raise_epoch
from celadon.table.core.locks import LockedDeployment, lock_deployment
from celadon.table.core.models import Deployment, Rollout, RouteSet
from celadon.table.core.policies import read_policy, resolve_for
from celadon.table.notifications.notification_outbox import check_rules
from celadon.table.rollouts.audit import write_event
from celadon.table.rollouts.finish import abandon
from celadon.table.rollouts.revisions import check_replicas, register_revision
from celadon.table.rollouts.rights import rights_to_start
from celadon.table.rollouts.spent_requests import forget_start, spend, started_by

_known: Final = select(Rollout).where(
    and_(Rollout.workflow_id == bindparam("workflow"), Rollout.run_id == bindparam("run"))
    | and_(Rollout.deployment == bindparam("deployment"), Rollout.outcome.is_(None))
)


async def begin(tx: AsyncSession, step: BeginStep, authority: Authority) -> Begun:
    """Open a rollout, or return the one that an earlier attempt of the same run opened.

    An older rollout that never ended, because its workflow was terminated or reset, ends here as failed.

    Args:
        tx: the transaction.
        step: what the rollout's workflow was started with.
        authority: whom the installation believes; the sender's rights are judged by what the policy resolves to.

    Raises:
        RefusedError: the sender may not, the deployment is being destroyed, the revision's number is unknown, the
            policy contradicts itself, the replicas do not fit the endpoints, the labels are other ones, a target is not
            there, or a newer rollout has taken the deployment over.

    """
    request = step.request
    is_new = await _ensure_deployment(tx, request)
    locked = await lock_deployment(tx, request.deployment)
    deployment = locked.row
    known, older = await _read_known(tx, step)
    if known is not None:
        return _begun(known)
    verdict = authority.of_start(request, step.memo, step.taken_at)
    await _refuse_spent(tx, deployment, verdict)
    if deployment.lifecycle is DeploymentLifecycle.DESTROYING:
        raise refuse(
            RefusalCode.DEPLOYMENT_DELETED,
            f"deployment {request.deployment} is being destroyed",
            f"start it anew once 'celadon deployment show {request.deployment}' says that it is destroyed",
        )
    if deployment.lifecycle is DeploymentLifecycle.DESTROYED:
        is_new = True
        await _start_anew(tx, deployment, request)
    _check_labels(deployment, request)
    if older is not None:
        await _end_older(tx, locked, older, step.at)

    own = read_policy(deployment.policy)
    policy = resolve_for(deployment.name, own, request.policy)
    for right in await rights_to_start(tx, deployment, request, is_new=is_new):
        verdict.require(right.verb, deployment.name, right.why)
    await check_rules(tx, policy)
    replicas = deployment.replicas if request.replicas is None else request.replicas
    number, revision = await register_revision(tx, locked, request.revision)
    check_replicas(revision, replicas)
    blue = await _live_revision(tx, deployment)
    rollout = Rollout(
        deployment=deployment.name,
        workflow_id=step.workflow_id,
        run_id=step.run_id,
        from_revision=blue,
        to_revision=number,
        blue_set=deployment.live_set,
        replicas=replicas,
        policy=policy.model_dump(mode="json"),
        gated=blue is not None or asks_for_gate(policy, own, request.policy),
        requested_by=request.requested_by,
        reason=request.reason,
        phase=RolloutPhase.PROVISIONING,
        phase_since=step.at,
        started_at=step.at,
    )
    tx.add(rollout)
    deployment.lifecycle = DeploymentLifecycle.DEPLOYING
    await tx.flush()
    refusal = await spend(tx, locked, verdict, rollout, START, step.run_id)
    if refusal is not None:
        raise RefusedError(refusal)
    await write_event(
        tx,
        deployment.name,
        rollout.id,
        "started",
        author=Asker(
            by=request.requested_by,
            door=verdict.door,
            reason=request.reason,
            verified=verdict.verified,
            issuer=verdict.issuer,
        ),
        evidence={"from_revision": str(blue or ""), "to_revision": str(number), "replicas": str(replicas)},
    )
    return _begun(rollout)


def _begun(row: Rollout) -> Begun:
    return Begun(
        rollout=RolloutId(row.id),
        deployment=row.deployment,
        policy=read_policy(row.policy),
        gated=row.gated,
        replicas=row.replicas,
        blue_set=None if row.blue_set is None else RouteSetId(row.blue_set),
        from_revision=None if row.from_revision is None else RevisionNumber(row.from_revision),
        to_revision=RevisionNumber(row.to_revision),
        started_at=row.started_at,
    )


async def _refuse_spent(tx: AsyncSession, deployment: Deployment, verdict: Verdict) -> None:
    """Refuse a signed start that counted before, unless its rollout has not ended: then its workflow was reset."""
    if not verdict.verified:
        return
    earlier = await started_by(tx, deployment.name, verdict.request_id)
    if earlier is None:
        return
    if earlier.outcome is not None:
        raise RefusedError(spent(START, verdict.request_id))
    await forget_start(tx, deployment.name, verdict.request_id)


async def _ensure_deployment(tx: AsyncSession, request: RolloutRequest) -> bool:
    """Create the deployment when it is new, and return whether it was; its first policy becomes its own."""
    created = await tx.scalar(
        insert(Deployment)
        .values(
            name=request.deployment,
            replicas=_first_replicas(request),
            lifecycle=DeploymentLifecycle.PENDING,
            policy=request.policy.model_dump(mode="json"),
            labels=request.labels or {},
        )
        .on_conflict_do_nothing()
        .returning(Deployment.name),
    )
    return created is not None


async def _start_anew(tx: AsyncSession, deployment: Deployment, request: RolloutRequest) -> None:
    """Treat a destroyed deployment as a new one; the numbers of its revisions and its epochs go on."""
    deployment.replicas = _first_replicas(request)
    deployment.lifecycle = DeploymentLifecycle.PENDING
    deployment.policy = request.policy.model_dump(mode="json")
    deployment.frozen = False
    await tx.flush()
    await raise_epoch(tx, deployment.name)
    await tx.refresh(deployment, ["epoch"])


def _check_labels(deployment: Deployment, request: RolloutRequest) -> None:
    """Refuse a request that would change who may see the deployment, which a rollout never does."""
    if request.labels is not None and request.labels != deployment.labels:
        raise refuse(
            RefusalCode.LABELS_DIFFER,
            f"the request gives labels {request.labels}, but {deployment.name} has {deployment.labels}",
            "leave the labels out, or let an admin change them through the API (labelDeployment)",
        )


def _first_replicas(request: RolloutRequest) -> int:
    return 1 if request.replicas is None else request.replicas


async def _read_known(tx: AsyncSession, step: BeginStep) -> tuple[Rollout | None, Rollout | None]:
    """Return the rollout that an earlier attempt of this run began, and the one of the deployment that has not ended.

    Steps of rollouts change them under the deployment's lock, which is held.
    """
    keys = {"workflow": step.workflow_id, "run": step.run_id, "deployment": step.request.deployment}
    rows = (await tx.scalars(_known, keys)).all()
    known = next((row for row in rows if (row.workflow_id, row.run_id) == (step.workflow_id, step.run_id)), None)
    return known, next((row for row in rows if row.outcome is None), None)


async def _end_older(tx: AsyncSession, deployment: LockedDeployment, older: Rollout, at: datetime) -> None:
    if older.started_at > at:
        raise refuse(
            RefusalCode.NOT_OWNER,
            f"rollout {older.id} began later and owns deployment {deployment.name}",
            "nothing was changed",
        )
    await abandon(tx, deployment, older, "terminated", at)


async def _live_revision(tx: AsyncSession, deployment: Deployment) -> RevisionNumber | None:
    if deployment.live_set is None:
        return None
    revision = await tx.scalar(select(RouteSet.revision).where(RouteSet.id == deployment.live_set))
    return None if revision is None else RevisionNumber(revision)
