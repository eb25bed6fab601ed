"""Begin: registers a rollout, its revision and its policy, and takes the deployment over."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.errors import RefusalCode, refuse
from celadon.domain.messages import RolloutRequest
from celadon.domain.names import RevisionNumber, RolloutId, RouteSetId
from celadon.domain.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.revision import Provisioner, Revision
from celadon.domain.states import DeploymentLifecycle, RolloutPhase
from celadon.domain.steps import BeginStep, Begun
from celadon.table.audit import write_event
from celadon.table.finish import abandon
from celadon.table.locks import lock_deployment
from celadon.table.models import Deployment, RevisionRow, Rollout, RouteSet
from celadon.table.policies import read_policy


async def begin(tx: AsyncSession, step: BeginStep) -> Begun:
    """Open a rollout, or return the one that an earlier attempt of the same run opened.

    An older rollout that never ended, because its workflow was terminated or reset, ends here as failed.

    Raises:
        RefusedError: the deployment is deleted, the revision's number is unknown, the policy contradicts itself, the
            replicas do not fit the endpoints, or a newer rollout has taken the deployment over.

    """
    request = step.request
    await _ensure_deployment(tx, request)
    deployment = await lock_deployment(tx, request.deployment)
    known = await tx.scalar(
        select(Rollout).where(Rollout.workflow_id == step.workflow_id, Rollout.run_id == step.run_id),
    )
    if known is not None:
        return _begun(known)
    if deployment.lifecycle in {DeploymentLifecycle.DESTROYING, DeploymentLifecycle.DESTROYED}:
        raise refuse(
            RefusalCode.DEPLOYMENT_DELETED,
            f"deployment {request.deployment} is {deployment.lifecycle.value}",
            "choose another name",
        )
    await _end_older(tx, deployment, step.at)

    policy = _resolve(deployment, request)
    replicas = deployment.replicas if request.replicas is None else request.replicas
    number, revision = await _register_revision(tx, deployment.name, request.revision)
    _check_replicas(revision, replicas)
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
        gated=blue is not None or _asks_for_a_gate(deployment, request, policy),
        requested_by=request.requested_by,
        reason=request.reason,
        phase=RolloutPhase.PROVISIONING,
        phase_since=step.at,
        started_at=step.at,
    )
    tx.add(rollout)
    deployment.lifecycle = DeploymentLifecycle.DEPLOYING
    await tx.flush()
    await write_event(
        tx,
        deployment.name,
        rollout.id,
        "started",
        actor=request.requested_by,
        reason=request.reason,
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


async def _ensure_deployment(tx: AsyncSession, request: RolloutRequest) -> None:
    """Create the deployment when it is new; its first policy becomes its own."""
    await tx.execute(
        insert(Deployment)
        .values(
            name=request.deployment,
            replicas=1 if request.replicas is None else request.replicas,
            lifecycle=DeploymentLifecycle.PENDING,
            policy=request.policy.model_dump(mode="json"),
        )
        .on_conflict_do_nothing(),
    )


async def _end_older(tx: AsyncSession, deployment: Deployment, at: datetime) -> None:
    older = await tx.scalar(
        select(Rollout).where(Rollout.deployment == deployment.name, Rollout.outcome.is_(None)).with_for_update(),
    )
    if older is None:
        return
    if older.started_at > at:
        raise refuse(
            RefusalCode.NOT_OWNER,
            f"rollout {older.id} began later and owns deployment {deployment.name}",
            "nothing was changed",
        )
    await abandon(tx, deployment, older, "terminated", at)


def _resolve(deployment: Deployment, request: RolloutRequest) -> BlueGreenPolicy:
    own = read_policy(deployment.policy)
    try:
        return resolve_policy(own, request.policy)
    except ValueError as error:
        raise refuse(RefusalCode.POLICY_CONFLICT, f"the policy contradicts itself: {error}") from error


def _asks_for_a_gate(deployment: Deployment, request: RolloutRequest, resolved: BlueGreenPolicy) -> bool:
    """Whether somebody said that a person decides on this first deployment too.

    A delay asks for no gate: it gives time to look at green while blue serves, and here nothing serves.
    """
    said = "auto_promote" in deployment.policy or "auto_promote" in request.policy.model_fields_set
    return said and not resolved.auto_promote


async def _register_revision(
    tx: AsyncSession,
    deployment: str,
    wanted: Revision | int,
) -> tuple[RevisionNumber, Revision]:
    """Return the number of a revision; content that the deployment has had before keeps its number."""
    if isinstance(wanted, int):
        content = await tx.scalar(
            select(RevisionRow.content).where(RevisionRow.deployment == deployment, RevisionRow.number == wanted),
        )
        if content is None:
            raise refuse(
                RefusalCode.NO_SUCH_REVISION,
                f"deployment {deployment} has no revision {wanted}",
                f"list them with 'celadon rollout history {deployment}', or give the revision itself",
            )
        return RevisionNumber(wanted), Revision.model_validate(content, strict=False)
    digest = wanted.digest()
    known = await tx.scalar(
        select(RevisionRow.number).where(RevisionRow.deployment == deployment, RevisionRow.digest == digest),
    )
    if known is not None:
        return RevisionNumber(known), wanted
    last = await tx.scalar(select(func.max(RevisionRow.number)).where(RevisionRow.deployment == deployment))
    number = (last or 0) + 1
    tx.add(
        RevisionRow(deployment=deployment, number=number, digest=digest, content=wanted.model_dump(mode="json")),
    )
    await tx.flush()
    return RevisionNumber(number), wanted


def _check_replicas(revision: Revision, replicas: int) -> None:
    if revision.provisioner is Provisioner.STATIC and replicas > len(revision.endpoints):
        raise refuse(
            RefusalCode.POLICY_CONFLICT,
            f"{replicas} replicas are wanted, but the static revision lists {len(revision.endpoints)} endpoints",
            "list more endpoints or ask for fewer replicas",
        )


async def _live_revision(tx: AsyncSession, deployment: Deployment) -> RevisionNumber | None:
    if deployment.live_set is None:
        return None
    revision = await tx.scalar(select(RouteSet.revision).where(RouteSet.id == deployment.live_set))
    return None if revision is None else RevisionNumber(revision)
