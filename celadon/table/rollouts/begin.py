"""Begin: registers a rollout, its revision and its policy, and takes the deployment over."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.approvals import refuse_unknown_requester
from celadon.domain.decisions.authority import Authority, Verdict, spent
from celadon.domain.decisions.automatic_switch import asks_for_gate
from celadon.domain.decisions.expiry import refuse_far
from celadon.domain.decisions.hosts import NOTHING_CLAIMABLE, HostRules
from celadon.domain.decisions.reserved_names import refuse_reserved_name
from celadon.domain.language.attestation import START
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError, refuse
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.moments import utc
from celadon.domain.language.names import RevisionNumber, RolloutId, RouteSetId
from celadon.domain.language.next_rollout import NextRollout
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import DEPLOYMENT_KEYS, SHORTEST_RETENTION, BlueGreenPolicy
from celadon.domain.language.revision import Revision
from celadon.domain.language.states import DeploymentLifecycle, RolloutPhase
from celadon.domain.language.steps import BeginStep, Begun
from celadon.domain.language.traffic import DEFAULT_SETTINGS
from celadon.table.core.clock import database_now
from celadon.table.core.defaults import hold_defaults, read_defaults
from celadon.table.core.epoch import raise_epoch
from celadon.table.core.locks import LockedDeployment, lock_deployment
from celadon.table.core.models import Deployment, Rollout
from celadon.table.core.policies import read_policy, resolve_for
from celadon.table.core.traffic_settings import columns_of
from celadon.table.notifications.notification_outbox import check_rules
from celadon.table.rollouts.admission import admit_start
from celadon.table.rollouts.audit import write_event
from celadon.table.rollouts.begin_next import Start, leave_place, take_turn
from celadon.table.rollouts.finish import abandon
from celadon.table.rollouts.freezes import end_freezes_of
from celadon.table.rollouts.judging import asker_of
from celadon.table.rollouts.live import revision_of
from celadon.table.rollouts.next_rollouts import AskedStart
from celadon.table.rollouts.revisions import check_replicas, register_revision
from celadon.table.rollouts.rights import rights_to_start
from celadon.table.rollouts.rollback import JudgedRollback, judge_rollback
from celadon.table.rollouts.spent_requests import forget_start, spend, started_by
from celadon.table.rollouts.traffic import apply_traffic

_known: Final = select(Rollout).where(
    and_(Rollout.workflow_id == bindparam("workflow"), Rollout.run_id == bindparam("run"))
    | and_(Rollout.deployment == bindparam("deployment"), Rollout.outcome.is_(None))
)


async def begin(
    tx: AsyncSession,
    step: BeginStep,
    authority: Authority,
    *,
    hosts: HostRules = NOTHING_CLAIMABLE,
    attempted_at: datetime | None = None,
) -> Begun:
    """Open a rollout, or return the one that an earlier attempt of the same run opened.

    An older rollout that never ended, because its workflow was terminated or reset, ends here as failed.

    Args:
        tx: the transaction.
        step: what the rollout's workflow was started with.
        authority: whom the installation believes; the sender's rights are judged by what the policy resolves to.
        hosts: which host names it may claim for the deployment.
        attempted_at: when this attempt began. Of one that was paused for so long that what the run began may have
            been pruned, nobody can tell whether the run has begun before.

    Raises:
        RefusedError: the attempt comes too late, the sender may not, the deployment is being destroyed, the revision's
            number is unknown, the policy contradicts itself or excludes a requester for whom nobody vouches, the
            replicas do not fit the endpoints, there is no room for green, the labels are other ones, a target is not
            there, no deployment may claim a host or another one has it, a newer rollout has taken the deployment over,
            another one waits whose place it does not take, or it has waited and waits no more.

    """
    locked, is_new = await _lock_for(tx, step.request)
    deployment = locked.row
    known, older = await _read_known(tx, step)
    if known is not None:
        return _begun(known)
    await _refuse_late(tx, deployment, attempted_at)
    start = await _started(tx, locked, step, older, authority)
    request, verdict = start.request, start.verdict
    judged = await judge_start(
        tx,
        locked,
        request,
        is_new=is_new,
        verified=verdict.verified,
        require=lambda verb, why: verdict.require(verb, deployment.name, why),
        end_older=lambda: _end_older(tx, locked, older, step.at),
    )
    asker = asker_of(verdict, by=request.requested_by, reason=request.reason)
    rollout = Rollout(
        deployment=deployment.name,
        workflow_id=step.workflow_id,
        run_id=step.run_id,
        from_revision=judged.blue,
        to_revision=judged.number,
        blue_set=deployment.live_set,
        replicas=judged.replicas,
        policy=judged.policy.model_dump(mode="json"),
        gated=judged.gated,
        rollback_window=None if judged.rollback is None else judged.rollback.why,
        requested_by=request.requested_by,
        requester_issuer=verdict.issuer,
        reason=request.reason,
        next=start.next,
        asked=AskedStart.of(request, judged.number, asker, verdict.rights).stored(),
        phase=RolloutPhase.PROVISIONING,
        phase_since=step.at,
        started_at=step.at,
    )
    tx.add(rollout)
    deployment.lifecycle = DeploymentLifecycle.DEPLOYING
    await tx.flush()
    if start.next is None:
        refusal = await spend(tx, locked, verdict, rollout, START, step.run_id)
        if refusal is not None:
            raise RefusedError(refusal)
    await leave_place(tx, start, rollout, asker, judged.policy.on_new_revision)
    await write_event(
        tx,
        deployment.name,
        rollout.id,
        "started",
        author=asker,
        evidence={
            "from_revision": str(judged.blue or ""),
            "to_revision": str(judged.number),
            "replicas": str(judged.replicas),
            **({} if judged.rollback is None else {"rollback": judged.rollback.why}),
            **({} if start.next is None else {"next": str(start.next)}),
        },
    )
    await apply_traffic(tx, locked, request.traffic, asker, hosts, rollout=rollout.id)
    return _begun(rollout)


async def _lock_for(tx: AsyncSession, request: RolloutRequest | NextRollout) -> tuple[LockedDeployment, bool]:
    """Return the deployment, locked, and whether it is new; that of one that has waited is there."""
    if isinstance(request, NextRollout):
        return await lock_deployment(tx, request.deployment), False
    return await lock_or_create(tx, request)


async def _refuse_late(tx: AsyncSession, deployment: Deployment, attempted_at: datetime | None) -> None:
    """Refuse an attempt that began before what is pruned now may have ended; the next attempt has its own moment."""
    if attempted_at is None or await database_now(tx) - attempted_at < SHORTEST_RETENTION:
        return
    raise refuse(
        RefusalCode.NOT_OWNER,
        f"this attempt to begin a rollout of {deployment.name} was paused since {utc(attempted_at)}: "
        "what its run began may have ended and been pruned since",
        f"nothing was changed; 'celadon rollout status {deployment.name}' shows what is under way",
    )


async def _started(
    tx: AsyncSession, locked: LockedDeployment, step: BeginStep, older: Rollout | None, authority: Authority
) -> Start:
    """Return what is asked for and what its sender may do: as the workflow was started, or as it has waited."""
    request = step.request
    if isinstance(request, NextRollout):
        return await take_turn(tx, locked, request, older, authority)
    verdict = authority.of_start(request, step.memo, step.taken_at)
    await _refuse_spent(tx, locked.row, verdict)
    return Start(request=request, verdict=verdict, ended=None if older is None else older.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedStart:
    """What a rollout that may begin would be."""

    own: BlueGreenPolicy
    """The deployment's own policy, with the keys alone that it gives."""
    policy: BlueGreenPolicy
    """Resolved."""
    rollback: JudgedRollback | None
    gated: bool
    """Whether it waits for a promotion."""
    replicas: int
    number: RevisionNumber
    revision: Revision
    blue: RevisionNumber | None
    """The revision that is live."""
    no_room: Refusal | None
    """Why it would wait before green is opened; ``None`` when there is room."""


async def judge_start(  # noqa: PLR0913 - what is asked for, by whom, and what it meets
    tx: AsyncSession,
    locked: LockedDeployment,
    request: RolloutRequest,
    *,
    is_new: bool,
    verified: bool,
    require: Callable[[Verb, str], None],
    end_older: Callable[[], Awaitable[None]],
    asks_for_room: bool = True,
) -> JudgedStart:
    """Judge by every rule whether a rollout may begin, and register its revision.

    Args:
        tx: the transaction that has locked the deployment; a plan rolls it back.
        locked: the deployment.
        request: what is asked for.
        is_new: whether the deployment was made for this very request.
        verified: whether somebody vouches for the sender.
        require: refuses what the sender has no right to; it is told why the right is necessary.
        end_older: ends a rollout of the deployment that has not ended.
        asks_for_room: whether there must be room for green now; not while it could not begin anyway.

    Raises:
        RefusedError: as :func:`begin`.

    """
    deployment = locked.row
    if deployment.lifecycle is DeploymentLifecycle.DESTROYING:
        raise refuse(
            RefusalCode.DEPLOYMENT_DELETED,
            f"deployment {request.deployment} is being destroyed",
            f"start it anew once 'celadon deployment show {request.deployment}' says that it is destroyed",
        )
    if deployment.lifecycle is DeploymentLifecycle.DESTROYED:
        is_new = True
        await _start_anew(tx, deployment, request)
        await end_freezes_of(tx, locked)
    _check_labels(deployment, request)
    await end_older()

    own = read_policy(deployment.policy)
    defaults = await (hold_defaults(tx) if is_new else read_defaults(tx))
    policy = resolve_for(deployment.name, defaults, own, request.policy)
    rollback = await judge_rollback(tx, deployment, request)
    for right in await rights_to_start(tx, deployment, request, is_new=is_new, judged=rollback, defaults=defaults):
        require(right.verb, right.why)
    if not is_new:
        _check_kept(deployment, resolve_for(deployment.name, defaults, own), request.policy)
    is_inside = rollback is not None and rollback.is_inside
    if is_inside:
        # A rollback inside its window goes where the deployment was, and nobody has to approve that.
        policy = policy.model_copy(update={"approvals": None})
    if policy.promote_at is not None:
        far = refuse_far("promote_at", policy.promote_at, await database_now(tx))
        if far is not None:
            raise RefusedError(far)
    unknown = refuse_unknown_requester(policy.approvals, deployment.name, verified=verified)
    if unknown is not None:
        raise RefusedError(unknown)
    await check_rules(tx, policy)
    replicas = deployment.replicas if request.replicas is None else request.replicas
    number, revision = await register_revision(tx, locked, request.revision)
    check_replicas(revision, replicas)
    blue = await revision_of(tx, deployment.live_set)
    gated = (blue is not None or asks_for_gate(policy, defaults, own, request.policy)) and not is_inside
    no_room = await admit_start(tx, locked, policy, replicas, gated=gated, asks_for_room=asks_for_room)
    return JudgedStart(
        own=own,
        policy=policy,
        rollback=rollback,
        gated=gated,
        replicas=replicas,
        number=number,
        revision=revision,
        blue=blue,
        no_room=no_room,
    )


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


async def lock_or_create(tx: AsyncSession, request: RolloutRequest) -> tuple[LockedDeployment, bool]:
    """Return the deployment, locked, and whether it is new."""
    is_new = await _ensure_deployment(tx, request)
    try:
        return await lock_deployment(tx, request.deployment), is_new
    except RefusedError:
        # What was left of a destroyed deployment was pruned in between.
        is_new = await _ensure_deployment(tx, request)
        return await lock_deployment(tx, request.deployment), is_new


async def _ensure_deployment(tx: AsyncSession, request: RolloutRequest) -> bool:
    """Create the deployment when it is new, and return whether it was; its first policy becomes its own.

    Raises:
        RefusedError: the name of a new deployment is reserved.

    """
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
    if created is not None:
        refuse_reserved_name(created)
    return created is not None


async def _start_anew(tx: AsyncSession, deployment: Deployment, request: RolloutRequest) -> None:
    """Treat a destroyed deployment as a new one; the numbers of its revisions and its epochs go on."""
    deployment.replicas = _first_replicas(request)
    deployment.lifecycle = DeploymentLifecycle.PENDING
    deployment.policy = request.policy.model_dump(mode="json")
    for column, value in columns_of(DEFAULT_SETTINGS).items():
        setattr(deployment, column, value)
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


def _check_kept(deployment: Deployment, resolved: BlueGreenPolicy, wanted: BlueGreenPolicy) -> None:
    """Refuse a request that would change for how long the deployment keeps what was: a rollout is no admin."""
    for key in DEPLOYMENT_KEYS:
        if key in wanted.model_fields_set and getattr(wanted, key) != getattr(resolved, key):
            raise refuse(
                RefusalCode.POLICY_CONFLICT,
                f"{key} of the request differs from that of {deployment.name}'s own policy, and no rollout changes for "
                "how long a deployment keeps what was",
                f"leave it out; 'celadon deployment show {deployment.name}' shows the policy",
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


async def _end_older(tx: AsyncSession, deployment: LockedDeployment, older: Rollout | None, at: datetime) -> None:
    if older is None:
        return
    if older.started_at > at:
        raise refuse(
            RefusalCode.NOT_OWNER,
            f"rollout {older.id} began later and owns deployment {deployment.name}",
            "nothing was changed",
        )
    await abandon(tx, deployment, older, "terminated", at)
