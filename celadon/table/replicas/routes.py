"""What the keeper writes of replicas. Every write is fenced and tells the rollout in its own transaction.

Health and lifecycle of a replica change only under a lock on its set's row, the same lock that a switch counts under.
Who decides to stop a replica has read the table earlier, so each reason for a stop is checked again under that lock.
"""

from typing import Final

from sqlalchemy import ColumnElement, Update, bindparam, case, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from celadon.domain.decisions.failure_cause import LONGEST_CAUSE
from celadon.domain.decisions.scaling import who_leaves
from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Epoch, Fence, RouteId, RouteSetId
from celadon.domain.language.states import RouteHealthStatus, RouteSetState, RouteStatus, SetCondition
from celadon.domain.language.text_bounds import first_bytes, last_bytes
from celadon.table.core.acknowledgements import read_acknowledgement
from celadon.table.core.clock import database_now
from celadon.table.core.epoch import raise_epoch
from celadon.table.core.fences import hold_fence
from celadon.table.core.locks import DeploymentLock, hold_deployment, lock_deployment
from celadon.table.core.models import MemberLoad, Rollout, Route, Router, RouterLoad, RouteSet
from celadon.table.core.policies import read_policy
from celadon.table.core.replica_rules import counts_as_live, is_open, runs
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

_LOCKED_SET: Final = (
    select(RouteSet).where(RouteSet.id == bindparam("set")).with_for_update().execution_options(populate_existing=True)
)


async def add_route(
    tx: AsyncSession,
    fence: Fence,
    route_set: RouteSetId,
    route: RouteId,
    *,
    host: str,
    port: int,
) -> bool:
    """Write a replica down before it is started, if its set still wants one more. Twice writes it once.

    The set's row is held ``for share``: a set that begins to drain meanwhile either sees the new row or refuses it.

    Returns:
        False when the set is closed, failed or full; nothing may be started then.

    Raises:
        LeaseLostError: another keeper has the lease.

    """
    await hold_fence(tx, fence)
    held = (
        await tx.execute(
            select(RouteSet.wanted, RouteSet.condition)
            .where(RouteSet.id == route_set, is_open)
            .with_for_update(read=True),
        )
    ).one_or_none()
    if held is None or held.condition is SetCondition.FAILED:
        return False
    others = await tx.scalar(
        select(func.count()).select_from(Route).where(_counts_as_wanted(route_set), Route.id != route),
    )
    if (others or 0) >= held.wanted:
        return False
    await tx.execute(
        insert(Route)
        .values(
            id=route,
            set_id=route_set,
            host=host,
            port=port,
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
    chosen = who_leaves(await read_members(tx, row.id), row.wanted)
    if not chosen:
        return Leaving()
    rollout = await tx.get_one(Rollout, row.rollout)
    epoch = await raise_epoch(tx, row.deployment)
    deadline = await database_now(tx) + read_policy(rollout.policy).drain_timeout
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
    await tell_rollout(tx, row)
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
    left = await tx.scalar(select(Route.leaving_epoch).where(Route.id == route))
    failed = failed and left is None
    ended = (
        update(Route)
        .where(Route.id == route, Route.ended_at.is_(None))
        .values(
            status=status,
            health=RouteHealthStatus.UNHEALTHY if failed else Route.health,
            ended_at=func.clock_timestamp(),
            # One that was stopped because it never became healthy keeps what it failed with.
            last_error=first_bytes(error, LONGEST_CAUSE) if error else _kept_if_sick(Route.last_error),
            output=last_bytes(output, _OUTPUT_LIMIT) if error or output else _kept_if_sick(Route.output),
        )
    )
    changed = await _change(tx, lock, row, ended, failures=1 if failed else 0, told=bool(error))
    if changed and (failed or port_taken):
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
    left = await tx.scalar(
        select(func.count()).select_from(Route).where(Route.set_id == row.id, Route.ended_at.is_(None)),
    )
    if left or row.state is not RouteSetState.DRAINING:
        return False
    row.state, row.gone_at = RouteSetState.GONE, func.clock_timestamp()
    await tx.flush()
    await raise_epoch(tx, row.deployment)
    await destroy_if_empty(tx, await lock_deployment(tx, row.deployment))
    return True


async def tell_condition(tx: AsyncSession, fence: Fence, managed: ManagedSet) -> None:
    """Compare a set's condition with what its rollout was told last, and tell a difference."""
    lock, row = await _lock_set(tx, fence, managed)
    await tell_rollout(tx, row)
    await answer_asked(tx, lock)


async def _lock_set(tx: AsyncSession, fence: Fence, managed: ManagedSet) -> tuple[DeploymentLock, RouteSet]:
    """Begin a write: hold the fence, and lock the deployment and the set, in the order that all do."""
    await hold_fence(tx, fence)
    lock = await hold_deployment(tx, managed.deployment)
    return lock, (await tx.execute(_LOCKED_SET, {"set": managed.route_set})).scalar_one()


async def _change(
    tx: AsyncSession,
    lock: DeploymentLock,
    row: RouteSet,
    statement: Update,
    *,
    failures: int = 0,
    told: bool = False,
) -> frozenset[RouteId]:
    """Apply a change of replicas, publish it, and tell the rollout when the set's condition turned.

    Args:
        tx: the transaction.
        lock: the lock of the set's deployment.
        row: the set, locked.
        statement: changes replicas of it.
        failures: how many of them failed with that.
        told: whether it changes what is told of failures.

    """
    changed = frozenset(RouteId(route) for route in await tx.scalars(statement.returning(Route.id)))
    if changed:
        row.replacements += failures if row.state is RouteSetState.OPEN else 0
        if told:
            row.last_error = await read_failure_causes(tx, row)
        await cancel_scale_down(tx, row)
        await raise_epoch(tx, row.deployment)
        await tell_rollout(tx, row)
        await answer_asked(tx, lock)
    return changed


async def _terminate(
    tx: AsyncSession, lock: DeploymentLock, row: RouteSet, which: ColumnElement[bool]
) -> frozenset[RouteId]:
    return await _change(
        tx,
        lock,
        row,
        update(Route)
        .where(which, Route.status.in_([RouteStatus.PROVISIONING, RouteStatus.RUNNING]))
        .values(status=RouteStatus.TERMINATING),
    )


def _counts_as_wanted(route_set: int) -> ColumnElement[bool]:
    return (
        (Route.set_id == route_set)
        & Route.ended_at.is_(None)
        & (Route.status != RouteStatus.TERMINATING)
        & counts_as_live
    )


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
