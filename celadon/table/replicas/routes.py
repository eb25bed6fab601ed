"""What the keeper writes of replicas. Every write is fenced and tells the rollout in its own transaction.

Health and lifecycle of a replica change only under a lock on its set's row, the same lock that a switch counts under.
Who decides to stop a replica has read the table earlier, so each reason for a stop is checked again under that lock.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sqlalchemy import ColumnElement, Update, bindparam, case, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from celadon.domain.decisions.failure_cause import LONGEST_CAUSE
from celadon.domain.decisions.scaling import who_leaves
from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Epoch, Fence, RouteId, RouteSetId
from celadon.domain.language.states import RouteHealthStatus, RouteSetState, RouteStatus, SetCondition
from celadon.domain.language.text_bounds import first_bytes, last_bytes
from celadon.table.core.acknowledgements import read_acknowledgement
from celadon.table.core.epoch import raise_epoch, raise_epoch_now
from celadon.table.core.fences import hold_fence
from celadon.table.core.locks import DeploymentLock, lock_deployment, lock_deployment_of, lock_set
from celadon.table.core.models import MemberLoad, Rollout, Route, Router, RouterLoad, RouteSet
from celadon.table.core.policies import read_policy
from celadon.table.core.replica_rules import counts_as_live, is_open, runs
from celadon.table.core.room import has_room_for_one
from celadon.table.core.router_rules import counts_for_drain, is_live
from celadon.table.replicas.failure_causes import read_failure_causes
from celadon.table.replicas.keeper_reads import ManagedRoute, ManagedSet
from celadon.table.rollouts.asked_signals import answer_asked
from celadon.table.rollouts.audit import write_event
from celadon.table.rollouts.condition import tell_rollout
from celadon.table.rollouts.deletion import destroy_if_empty
from celadon.table.rollouts.scale_down import cancel_scale_down, read_members

_OUTPUT_LIMIT = 8_000
"""Bytes of a replica's output that are kept."""

_other = aliased(Route)
_some_leave: Final = (
    exists()
    .where(_other.set_id == Route.set_id, _other.ended_at.is_(None), _other.leaving_epoch.is_not(None))
    .correlate(Route)
)
_some_rollout_asks: Final = (
    exists()
    .where(
        RouteSet.id == Route.set_id,
        Rollout.deployment == RouteSet.deployment,
        Rollout.outcome.is_(None),
        Rollout.awaits_signal.is_not(None),
    )
    .correlate(Route)
)
_CHANGED: Final = (
    Route.id,
    counts_as_live.label("counts"),
    _some_leave.label("some_leave"),
    _some_rollout_asks.label("some_rollout_asks"),
)
"""What each change of replicas says besides: most have no member that leaves and no rollout that asks to serve."""


_GONE_WHEN_EMPTY: Final = (
    update(RouteSet)
    .where(
        RouteSet.id == bindparam("set"),
        RouteSet.state == RouteSetState.DRAINING,
        ~exists().where(Route.set_id == bindparam("set"), Route.ended_at.is_(None)),
    )
    .values(state=RouteSetState.GONE, gone_at=func.clock_timestamp())
    .returning(RouteSet.id)
    .execution_options(synchronize_session=False)
)
_WANTS_MORE: Final = (
    select(RouteSet.wanted, RouteSet.condition)
    .where(RouteSet.id == bindparam("set"), is_open)
    .with_for_update(read=True)
)
_COUNT_OTHERS: Final = (
    select(func.count())
    .select_from(Route)
    .where(
        Route.set_id == bindparam("set"),
        Route.ended_at.is_(None),
        Route.status != RouteStatus.TERMINATING,
        counts_as_live,
        Route.id != bindparam("route"),
    )
)


async def add_route(  # noqa: PLR0913 - a replica has a host and ports
    tx: AsyncSession,
    fence: Fence,
    route_set: RouteSetId,
    route: RouteId,
    *,
    host: str,
    port: int,
    other_ports: Mapping[str, int] = MappingProxyType({}),
) -> bool:
    """Write a replica down before it is started, if its set still wants one more. Twice writes it once.

    The deployment's row is locked, so that two sets never go beyond the bound on their replicas together. The set's row
    is held ``for share``: a set that begins to drain meanwhile either sees the new row or refuses it.

    Returns:
        False when the set is closed, failed or full, or there is no room for one more; nothing may be started then.

    Raises:
        LeaseLostError: another keeper has the lease.

    """
    await hold_fence(tx, fence)
    lock = await lock_deployment_of(tx, route_set)
    if lock is None:
        return False
    held = (await tx.execute(_WANTS_MORE, {"set": route_set})).one_or_none()
    if held is None or held.condition is SetCondition.FAILED:
        return False
    others = await tx.scalar(_COUNT_OTHERS, {"set": route_set, "route": route})
    if (others or 0) >= held.wanted or not await has_room_for_one(tx, lock):
        return False
    await tx.execute(
        insert(Route)
        .values(
            id=route,
            set_id=route_set,
            host=host,
            port=port,
            other_ports=dict(other_ports),
            status=RouteStatus.PROVISIONING,
            health=RouteHealthStatus.NOT_CHECKED,
            created_at=func.clock_timestamp(),
        )
        .on_conflict_do_nothing(index_elements=["id"]),
    )
    return True


async def route_running(tx: AsyncSession, fence: Fence, managed: ManagedSet, route: RouteId) -> None:
    """Write down that a replica's process runs; routers hear of its address."""
    lock, row = await _lock_set(tx, fence, managed)
    await _change(
        tx,
        lock,
        row,
        update(Route)
        .where(Route.id == route, Route.status == RouteStatus.PROVISIONING)
        .values(status=RouteStatus.RUNNING, started_at=func.clock_timestamp()),
    )


async def route_health(  # noqa: PLR0913 - an edge has its health, an answer and last words
    tx: AsyncSession,
    fence: Fence,
    managed: ManagedSet,
    route: RouteId,
    *,
    health: RouteHealthStatus,
    error: str,
    output: str = "",
) -> None:
    """Write down an edge of a replica's health, with what the last probe said and the replica printed."""
    lock, row = await _lock_set(tx, fence, managed)
    is_good = health is RouteHealthStatus.HEALTHY
    await _change(
        tx,
        lock,
        row,
        update(Route)
        .where(Route.id == route, runs)
        .values(
            health=health,
            health_fence=fence,
            last_error=first_bytes(error, LONGEST_CAUSE),
            output=last_bytes(output, _OUTPUT_LIMIT),
            ready_at=func.coalesce(Route.ready_at, func.clock_timestamp()) if is_good else Route.ready_at,
        ),
        told=True,
    )


async def route_error(
    tx: AsyncSession,
    fence: Fence,
    managed: ManagedSet,
    route: RouteId,
    *,
    error: str,
    output: str,
) -> None:
    """Write down that an unhealthy replica fails otherwise than before; routers hear nothing of it, nor the rollout."""
    _, row = await _lock_set(tx, fence, managed)
    await tx.execute(
        update(Route)
        .where(
            Route.id == route,
            runs,
            Route.health == RouteHealthStatus.UNHEALTHY,
        )
        .values(last_error=first_bytes(error, LONGEST_CAUSE), output=last_bytes(output, _OUTPUT_LIMIT))
        .execution_options(synchronize_session=False),
    )
    row.last_error = await read_failure_causes(tx, row)


async def route_confirmed(tx: AsyncSession, fence: Fence, managed: ManagedSet, route: RouteId) -> None:
    """Write down that a keeper which took over has seen the replica as its row says; routers hear nothing of it."""
    lock, _ = await _lock_set(tx, fence, managed)
    await tx.execute(
        update(Route)
        .where(Route.id == route, runs)
        .values(health_fence=fence)
        .execution_options(synchronize_session=False),
    )
    await answer_asked(tx, lock)


class Leaving(Record):
    """What became of the replicas that an open set has more than it wants."""

    stopped: frozenset[RouteId] = frozenset()
    """No router was told of them yet, so they terminate at once."""
    drained: frozenset[RouteId] = frozenset()
    """They leave: they get no new request and stop when they are drained."""


async def mark_surplus(tx: AsyncSession, fence: Fence, managed: ManagedSet) -> Leaving:
    """Let as many replicas of an open set leave as it has more than it wants."""
    lock, row = await _lock_set(tx, fence, managed)
    if row.state is not RouteSetState.OPEN:
        return Leaving()
    chosen = who_leaves(await read_members(tx, lock, row.id), row.wanted)
    if not chosen:
        return Leaving()
    rollout = await tx.get_one(Rollout, row.rollout)
    epoch, now = await raise_epoch_now(tx, row.deployment)
    deadline = now + read_policy(rollout.policy).drain_timeout
    starts = Route.status == RouteStatus.PROVISIONING
    rows = await tx.execute(
        update(Route)
        .where(Route.id.in_(chosen))
        .values(
            leaving_epoch=epoch,
            leaving_deadline=deadline,
            status=case((starts, RouteStatus.TERMINATING), else_=Route.status),
        )
        .returning(Route.id, Route.status)
        .execution_options(synchronize_session=False),
    )
    status = {RouteId(route): now for route, now in rows}
    await tell_rollout(tx, lock, row)
    await answer_asked(tx, lock)
    stopped = frozenset(route for route, now in status.items() if now is RouteStatus.TERMINATING)
    return Leaving(stopped=stopped, drained=frozenset(status) - stopped)


async def stop_left(
    tx: AsyncSession,
    fence: Fence,
    managed: ManagedSet,
    route: ManagedRoute,
    *,
    cut: bool,
) -> frozenset[RouteId]:
    """Let a replica terminate that leaves an open set and has drained.

    Nothing when it was taken back meanwhile, or when a router has come back that may still use it. With
    ``cut`` the requests that still run are counted.
    """
    lock, row = await _lock_set(tx, fence, managed)
    if row.state is not RouteSetState.OPEN or route.leaving_epoch is None:
        return frozenset()
    if await _is_used(tx, row, route.leaving_epoch):
        return frozenset()
    stopped = await _terminate(tx, lock, row, (Route.id == route.route) & (Route.leaving_epoch == route.leaving_epoch))
    if cut and stopped:
        running = await tx.scalar(
            select(func.coalesce(func.sum(MemberLoad.running), 0))
            .join(Router, Router.node == MemberLoad.router)
            .where(MemberLoad.route == route.route, MemberLoad.epoch == route.leaving_epoch, is_live),
        )
        await tx.execute(
            update(Route)
            .where(Route.id == route.route)
            .values(requests_cut=running)
            .execution_options(synchronize_session=False),
        )
        await _write_cut(tx, row, int(running or 0), {"route": route.route})
    return stopped


async def stop_drained(tx: AsyncSession, fence: Fence, managed: ManagedSet, *, cut: bool) -> frozenset[RouteId]:
    """Let the replicas of a draining set terminate; return those.

    Nothing when it was opened again meanwhile, or when a router has come back that may still use it. With
    ``cut`` the requests that still run are counted first.
    """
    lock, row = await _lock_set(tx, fence, managed)
    if not _still_drains(row, managed) or await _is_used(tx, row, managed.drain_epoch):
        return frozenset()
    stopped = await _terminate(tx, lock, row, Route.set_id == row.id)
    if cut and stopped:
        running = await _count_running_requests(tx, row)
        row.requests_cut += running
        await _write_cut(tx, row, running, {"route_set": str(row.id)})
    return stopped


async def stop_unpublished(tx: AsyncSession, fence: Fence, managed: ManagedSet) -> frozenset[RouteId]:
    """Let the replicas of a draining set terminate that no router was told of yet; return those."""
    lock, row = await _lock_set(tx, fence, managed)
    if not _still_drains(row, managed):
        return frozenset()
    return await _terminate(tx, lock, row, (Route.set_id == row.id) & (Route.status == RouteStatus.PROVISIONING))


async def stop_for_exit(tx: AsyncSession, fence: Fence, managed: ManagedSet) -> frozenset[RouteId]:
    """Let all replicas of a set terminate because the keeper's machine gives up; return those."""
    lock, row = await _lock_set(tx, fence, managed)
    return await _terminate(tx, lock, row, Route.set_id == row.id)


async def route_ended(  # noqa: PLR0913 - an end has a status, an error and last words
    tx: AsyncSession,
    fence: Fence,
    managed: ManagedSet,
    route: RouteId,
    *,
    status: RouteStatus,
    error: str = "",
    output: str = "",
    failed: bool,
    port_taken: bool = False,
) -> None:
    """Write down that a replica is no more.

    Args:
        tx: the transaction.
        fence: the keeper's.
        managed: the replica's set.
        route: the replica.
        status: ``terminated`` or ``failed_to_start``.
        error: why it ended, when it did so by itself.
        output: the last lines that it printed.
        failed: whether that is the revision's fault, which counts against ``max_replacements`` until the set was live.
            What happens to a replica that leaves counts for nothing.
        port_taken: whether it was ended because another program listens at its address.

    """
    lock, row = await _lock_set(tx, fence, managed)
    ended = (
        update(Route)
        .where(Route.id == route, Route.ended_at.is_(None))
        .values(
            status=status,
            health=case((counts_as_live, RouteHealthStatus.UNHEALTHY), else_=Route.health) if failed else Route.health,
            ended_at=func.clock_timestamp(),
            # One that was stopped because it never became healthy keeps what it failed with.
            last_error=first_bytes(error, LONGEST_CAUSE) if error else _kept_if_sick(Route.last_error),
            output=last_bytes(output, _OUTPUT_LIMIT) if error or output else _kept_if_sick(Route.output),
        )
    )
    changed = await _change(tx, lock, row, ended, failed=failed, told=bool(error))
    if changed.failed or (changed.routes and port_taken):
        await write_event(
            tx,
            row.deployment,
            row.rollout,
            "port_taken" if port_taken else "replica_failed",
            actor="keeper",
            reason=first_bytes(error, LONGEST_CAUSE),
            evidence={"route": route, "status": status.value, "output": last_bytes(output, LONGEST_CAUSE)},
        )


def _kept_if_sick(column: InstrumentedAttribute[str]) -> ColumnElement[str]:
    """Return what stands in a column of an unhealthy replica; nothing of any other."""
    return case((Route.health == RouteHealthStatus.UNHEALTHY, column), else_="")


async def set_gone(tx: AsyncSession, fence: Fence, managed: ManagedSet) -> bool:
    """Write down that a draining set has no replica left; false when it still has one or is no longer draining."""
    _, row = await _lock_set(tx, fence, managed)
    if await tx.scalar(_GONE_WHEN_EMPTY, {"set": row.id}) is None:
        return False
    await raise_epoch(tx, row.deployment)
    await destroy_if_empty(tx, await lock_deployment(tx, row.deployment))
    return True


async def tell_condition(tx: AsyncSession, fence: Fence, managed: ManagedSet) -> None:
    """Compare a set's condition with what its rollout was told last, and tell a difference."""
    lock, row = await _lock_set(tx, fence, managed)
    await tell_rollout(tx, lock, row)
    await answer_asked(tx, lock)


async def _lock_set(tx: AsyncSession, fence: Fence, managed: ManagedSet) -> tuple[DeploymentLock, RouteSet]:
    return await lock_set(tx, fence, managed.deployment, managed.route_set)


class _Changed(Record):
    """What a change of replicas has changed."""

    routes: frozenset[RouteId] = frozenset()
    failed: bool = False
    """Whether it counts as a failure of the revision."""


async def _change(
    tx: AsyncSession,
    lock: DeploymentLock,
    row: RouteSet,
    statement: Update,
    *,
    failed: bool = False,
    told: bool = False,
) -> _Changed:
    """Apply a change of replicas, publish it, and tell the rollout when the set's condition turned.

    Args:
        tx: the transaction.
        lock: the lock of the set's deployment.
        row: the set, locked.
        statement: changes replicas of it.
        failed: whether those of them that were not told to leave failed with that.
        told: whether it changes what is told of failures.

    """
    returned = statement.returning(*_CHANGED).execution_options(synchronize_session=False)
    changed = (await tx.execute(returned)).all()
    if not changed:
        return _Changed()
    failures = sum(one.counts for one in changed) if failed else 0
    row.replacements += failures if row.state is RouteSetState.OPEN else 0
    if told:
        row.last_error = await read_failure_causes(tx, row)
    if changed[0].some_leave:
        await cancel_scale_down(tx, lock, row)
    await raise_epoch(tx, row.deployment)
    await tell_rollout(tx, lock, row)
    if changed[0].some_rollout_asks:
        await answer_asked(tx, lock)
    return _Changed(routes=frozenset(RouteId(one.id) for one in changed), failed=failures > 0)


async def _terminate(
    tx: AsyncSession, lock: DeploymentLock, row: RouteSet, which: ColumnElement[bool]
) -> frozenset[RouteId]:
    running = Route.status.in_([RouteStatus.PROVISIONING, RouteStatus.RUNNING])
    changed = await _change(tx, lock, row, update(Route).where(which, running).values(status=RouteStatus.TERMINATING))
    return changed.routes


def _still_drains(row: RouteSet, managed: ManagedSet) -> bool:
    """Whether it is the drain that was decided about, and not a later one."""
    return row.state is RouteSetState.DRAINING and row.drain_epoch == managed.drain_epoch


async def _is_used(tx: AsyncSession, row: RouteSet, epoch: Epoch | None) -> bool:
    """Whether a live router serves less than ``epoch``, and so may send new requests to a set that was live."""
    rollout = await tx.get_one(Rollout, row.rollout)
    if rollout.switch_epoch is None or epoch is None:
        return False
    return not (await read_acknowledgement(tx, row.deployment, epoch)).complete


async def _write_cut(tx: AsyncSession, row: RouteSet, running: int, where: dict[str, str]) -> None:
    """Tell in the audit log of requests that ended because their replica did."""
    if running:
        await write_event(
            tx,
            row.deployment,
            row.rollout,
            "requests_cut",
            actor="keeper",
            reason="the deadline of the drain has passed",
            evidence={**where, "requests": str(running)},
        )


async def _count_running_requests(tx: AsyncSession, row: RouteSet) -> int:
    """Count the requests that live routers have reported of this drain."""
    running = await tx.scalar(
        select(func.coalesce(func.sum(RouterLoad.running), 0))
        .join(Router, Router.node == RouterLoad.router)
        .join(RouteSet, RouteSet.id == RouterLoad.route_set)
        .where(RouteSet.id == row.id, counts_for_drain, is_live),
    )
    return int(running or 0)
