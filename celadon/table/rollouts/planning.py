"""A plan of a rollout: every rule of its begin is asked, in a transaction of its own whose writes are taken back."""

from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.differences import differences
from celadon.domain.decisions.hosts import NOTHING_CLAIMABLE, HostRules
from celadon.domain.decisions.layers import layers_of
from celadon.domain.decisions.other_rollout import another_under_way
from celadon.domain.decisions.plan import (
    deciders,
    guards_of_green,
    guards_of_switch,
    is_already_there,
    moments_of_switch,
)
from celadon.domain.decisions.successors import another_waits, what_it_waits_for
from celadon.domain.language.errors import Refusal, RefusedError
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.permissions import Verb
from celadon.domain.language.plan import FieldChange, LayeredKey, Plan
from celadon.domain.language.policy import BlueGreenPolicy, OnNewRevision
from celadon.domain.language.revision import Revision
from celadon.domain.language.states import DeploymentLifecycle
from celadon.table.core.defaults import read_defaults
from celadon.table.core.hosts import hosts_of
from celadon.table.core.models import Deployment
from celadon.table.core.policies import read_policy
from celadon.table.core.room import count_capacity
from celadon.table.rollouts.begin import JudgedStart, judge_start, lock_or_create
from celadon.table.rollouts.freezes import read_freezes
from celadon.table.rollouts.hosts import changes_hosts
from celadon.table.rollouts.live import revision_of
from celadon.table.rollouts.next_rollouts import shown, waiting_row
from celadon.table.rollouts.placing import end_nothing, read_under_way, way_of
from celadon.table.rollouts.revisions import read_revision
from celadon.table.rollouts.traffic import changed_settings, try_traffic


async def plan_start(
    tx: AsyncSession,
    request: RolloutRequest,
    *,
    verified: bool,
    require: Callable[[Verb, str], None],
    hosts: HostRules = NOTHING_CLAIMABLE,
) -> Plan:
    """Return what a rollout would do if it began now. No row is written.

    Args:
        tx: the transaction; what is tried in it is taken back to a savepoint, and with it every lock.
        request: what is asked for.
        verified: whether somebody would vouch for the sender.
        require: refuses what the sender has no right to; it is told why the right is necessary.
        hosts: which host names it may claim for the deployment.

    """
    there = await tx.scalar(select(Deployment).where(Deployment.name == request.deployment))
    if there is not None and there.lifecycle is DeploymentLifecycle.DESTROYED:
        there = None
    before = None if there is None else there.replicas
    live_set = None if there is None else there.live_set
    own = request.policy if there is None else read_policy(there.policy)
    live = await revision_of(tx, live_set)
    running, under_way = await read_under_way(tx, request.deployment)
    rollout = None if running is None else RolloutId(running.id)
    row = await waiting_row(tx, request.deployment)
    defaults = await read_defaults(tx)
    waits = None if row is None else way_of(row, (defaults, own), before or 0)
    now_wanted = await count_capacity(tx, request.deployment)
    read = await read_freezes(tx, request.deployment)
    # A deployment that is made anew loses its own freezes, not those of all.
    freezes = tuple(one for one in read.freezes if there is not None or one.everywhere)
    # What is under way has its replicas by now, and is refused, or already there, whatever room there is.
    asks_for_room = rollout is None
    hosts_before = await hosts_of(tx, request.deployment)
    judged, refused = await _judge(
        tx, request, verified=verified, require=require, hosts=hosts, asks_for_room=asks_for_room
    )
    changes, left_out = await _changes(tx, request, live)
    other_hosts = await changes_hosts(tx, request.deployment, request.traffic)
    other_settings = await changed_settings(tx, request.deployment, request.traffic)
    is_there = (
        judged is not None
        and not other_hosts
        and not other_settings
        and is_already_there(
            request,
            judged.number,
            judged.policy,
            live=live,
            replicas=before or 0,
            under_way=under_way,
            waiting=waits,
        )
    )
    mode = OnNewRevision.REJECT if judged is None or request.rollback else judged.policy.on_new_revision
    if refused is None and rollout is not None and mode is OnNewRevision.REJECT:
        refused = another_under_way(request.deployment)
    if refused is None and rollout is None and row is not None and mode is OnNewRevision.REJECT:
        refused = None if request.rollback else another_waits(request.deployment, row.id, row.requested_by)
    is_next = refused is None and rollout is not None
    is_back = judged is not None and judged.rollback is not None and judged.rollback.is_inside
    moments = (
        None
        if judged is None
        else moments_of_switch(judged.policy, freezes, read.at, gated=judged.gated, goes_back=is_back)
    )
    return Plan(
        deployment=request.deployment,
        at=read.at,
        rollout=rollout,
        waiting=None if row is None else shown(row, None if under_way is None else under_way.phase),
        would_wait=what_it_waits_for(request.deployment, mode, rollout, "", under_way=under_way.phase)
        if is_next and under_way is not None and rollout is not None
        else "",
        already_there=is_there,
        refused=refused,
        from_revision=live,
        to_revision=None if judged is None else judged.number,
        changes=changes,
        changes_left_out=left_out,
        replicas_before=before,
        replicas=None if judged is None else judged.replicas,
        hosts_before=hosts_before,
        hosts=request.traffic.hosts
        if judged is not None and request.traffic is not None and request.traffic.hosts is not None
        else hosts_before,
        traffic=() if judged is None else other_settings,
        policy=_layers(BlueGreenPolicy() if there is None else own, request.policy, defaults),
        capacity_now=now_wanted,
        capacity_peak=None if judged is None else now_wanted + judged.replicas,
        gated=None if judged is None else judged.gated,
        guards=()
        if judged is None
        else (
            *guards_of_green(
                judged.policy,
                request.deployment,
                judged.replicas,
                judged.no_room,
                gated=judged.gated,
                asked=asks_for_room,
            ),
            *guards_of_switch(
                judged.policy, request.deployment, freezes, read.at, gated=judged.gated, goes_back=is_back
            ),
        ),
        earliest=None if moments is None else moments.earliest,
        by_itself=None if moments is None else moments.by_itself,
        latest=None if moments is None else moments.latest,
        decides=deciders(None if judged is None else judged.policy, request.requested_by),
    )


async def _judge(
    tx: AsyncSession,
    request: RolloutRequest,
    *,
    verified: bool,
    require: Callable[[Verb, str], None],
    hosts: HostRules,
    asks_for_room: bool,
) -> tuple[JudgedStart | None, Refusal | None]:
    """Ask every rule of a begin, and take back what it wrote."""
    tried = await tx.begin_nested()
    try:
        locked, is_new = await lock_or_create(tx, request)
        judged = await judge_start(
            tx,
            locked,
            request,
            is_new=is_new,
            verified=verified,
            require=require,
            end_older=end_nothing,
            asks_for_room=asks_for_room,
        )
        await try_traffic(tx, locked, request.traffic, hosts)
    except RefusedError as error:
        return None, error.refusal
    else:
        return judged, None
    finally:
        if tried.is_active:
            await tried.rollback()


async def _changes(
    tx: AsyncSession, request: RolloutRequest, live: RevisionNumber | None
) -> tuple[tuple[FieldChange, ...], int]:
    before = None if live is None else await read_revision(tx, request.deployment, live)
    after = (
        request.revision
        if isinstance(request.revision, Revision)
        else await read_revision(tx, request.deployment, request.revision)
    )
    return ((), 0) if before is None or after is None else differences(before, after)


def _layers(own: BlueGreenPolicy, request: BlueGreenPolicy, defaults: BlueGreenPolicy) -> tuple[LayeredKey, ...]:
    try:
        return layers_of(own, request, defaults=defaults)
    except ValueError:
        return ()
