"""What the keeper writes of replicas. Every write is fenced and tells the rollout in its own transaction.

Health and lifecycle of a replica change only under a lock on its set's row, the same lock that a switch counts under.
Who decides to stop a replica has read the table earlier, so each reason for a stop is checked again under that lock.
"""

from sqlalchemy import ColumnElement, Update, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.names import Fence, RouteId, RouteSetId
from celadon.domain.states import RouteHealthStatus, RouteSetState, RouteStatus, SetCondition
from celadon.domain.verification import with_last_words
from celadon.table.acknowledgements import is_live
from celadon.table.audit import write_event
from celadon.table.condition import tell_rollout
from celadon.table.epoch import raise_epoch
from celadon.table.kept_sets import KeptSet
from celadon.table.leases import hold_fence
from celadon.table.locks import lock_deployment
from celadon.table.models import Route, Router, RouterLoad, RouteSet

_OUTPUT_LIMIT = 8_000
_ERROR_LIMIT = 1_000


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
            .where(RouteSet.id == route_set, RouteSet.state == RouteSetState.OPEN)
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


async def route_running(tx: AsyncSession, fence: Fence, kept: KeptSet, route: RouteId) -> None:
    """Write down that a replica's process runs; routers hear of its address."""
    row = await _lock_set(tx, fence, kept)
    await _change(
        tx,
        row,
        update(Route)
        .where(Route.id == route, Route.status == RouteStatus.PROVISIONING)
        .values(status=RouteStatus.RUNNING, started_at=func.clock_timestamp()),
    )


async def route_health(
    tx: AsyncSession,
    fence: Fence,
    kept: KeptSet,
    route: RouteId,
    *,
    health: RouteHealthStatus,
    error: str,
) -> None:
    """Write down an edge of a replica's health, with what the last probe said."""
    row = await _lock_set(tx, fence, kept)
    if error:
        row.last_error = error[:_ERROR_LIMIT]
    await _change(
        tx,
        row,
        update(Route)
        .where(Route.id == route, Route.ended_at.is_(None), Route.status == RouteStatus.RUNNING)
        .values(health=health, health_fence=fence, last_error=error[:_ERROR_LIMIT]),
    )


async def route_confirmed(tx: AsyncSession, fence: Fence, kept: KeptSet, route: RouteId) -> None:
    """Write down that a keeper which took over has seen the replica as its row says; routers hear nothing of it."""
    await _lock_set(tx, fence, kept)
    await tx.execute(
        update(Route)
        .where(Route.id == route, Route.ended_at.is_(None), Route.status == RouteStatus.RUNNING)
        .values(health_fence=fence)
        .execution_options(synchronize_session=False),
    )


async def stop_superfluous(
    tx: AsyncSession,
    fence: Fence,
    kept: KeptSet,
    routes: tuple[RouteId, ...],
) -> frozenset[RouteId]:
    """Let the first of ``routes`` terminate, as many as an open set has more than it wants; return those."""
    row = await _lock_set(tx, fence, kept)
    present = await tx.scalar(select(func.count()).select_from(Route).where(_counts_as_wanted(row.id)))
    surplus = (present or 0) - row.wanted
    if row.state is not RouteSetState.OPEN or surplus <= 0:
        return frozenset()
    return await _terminate(tx, row, Route.id.in_(routes[:surplus]))


async def stop_drained(tx: AsyncSession, fence: Fence, kept: KeptSet, *, cut: bool) -> frozenset[RouteId]:
    """Let the replicas of a draining set terminate; return those. Nothing when it was opened again meanwhile.

    With ``cut`` the requests that still run are counted first.
    """
    row = await _lock_set(tx, fence, kept)
    if not _still_drains(row, kept):
        return frozenset()
    stopped = await _terminate(tx, row, Route.set_id == row.id)
    if cut and stopped:
        row.requests_cut += await _count_running_requests(tx, row)
    return stopped


async def stop_unpublished(tx: AsyncSession, fence: Fence, kept: KeptSet) -> frozenset[RouteId]:
    """Let the replicas of a draining set terminate that no router was told of yet; return those."""
    row = await _lock_set(tx, fence, kept)
    if not _still_drains(row, kept):
        return frozenset()
    return await _terminate(tx, row, (Route.set_id == row.id) & (Route.status == RouteStatus.PROVISIONING))


async def stop_for_exit(tx: AsyncSession, fence: Fence, kept: KeptSet) -> frozenset[RouteId]:
    """Let all replicas of a set terminate because the keeper's machine gives up; return those."""
    row = await _lock_set(tx, fence, kept)
    return await _terminate(tx, row, Route.set_id == row.id)


async def route_ended(  # noqa: PLR0913 - an end has a status, an error and last words
    tx: AsyncSession,
    fence: Fence,
    kept: KeptSet,
    route: RouteId,
    *,
    status: RouteStatus,
    error: str = "",
    output: str = "",
    failed: bool,
) -> None:
    """Write down that a replica is no more.

    Args:
        tx: the transaction.
        fence: the keeper's.
        kept: the replica's set.
        route: the replica.
        status: ``terminated`` or ``failed_to_start``.
        error: why it ended, when it did so by itself.
        output: the last lines that it printed.
        failed: whether that is the revision's fault, which counts against ``max_replacements`` until the set was live.

    """
    row = await _lock_set(tx, fence, kept)
    ended = (
        update(Route)
        .where(Route.id == route, Route.ended_at.is_(None))
        .values(
            status=status,
            health=RouteHealthStatus.UNHEALTHY if failed else Route.health,
            ended_at=func.clock_timestamp(),
            last_error=error[:_ERROR_LIMIT],
            output=output[-_OUTPUT_LIMIT:],
        )
    )
    if error:
        row.last_error = with_last_words(error, output)[:_ERROR_LIMIT]
    changed = await _change(tx, row, ended, failures=1 if failed else 0)
    if changed and failed:
        await write_event(
            tx,
            row.deployment,
            row.rollout,
            "replica_failed",
            actor="keeper",
            reason=error[:_ERROR_LIMIT],
            evidence={"route": route, "status": status.value, "output": output[-_ERROR_LIMIT:]},
        )


async def set_gone(tx: AsyncSession, fence: Fence, kept: KeptSet) -> bool:
    """Write down that a draining set has no replica left; false when it still has one or is no longer draining."""
    row = await _lock_set(tx, fence, kept)
    left = await tx.scalar(
        select(func.count()).select_from(Route).where(Route.set_id == row.id, Route.ended_at.is_(None)),
    )
    if left or row.state is not RouteSetState.DRAINING:
        return False
    row.state, row.gone_at = RouteSetState.GONE, func.clock_timestamp()
    await tx.flush()
    await raise_epoch(tx, row.deployment)
    return True


async def tell_condition(tx: AsyncSession, fence: Fence, kept: KeptSet) -> None:
    """Compare a set's condition with what its rollout was told last, and tell a difference."""
    await tell_rollout(tx, await _lock_set(tx, fence, kept))


async def _lock_set(tx: AsyncSession, fence: Fence, kept: KeptSet) -> RouteSet:
    """Begin a write: hold the fence, and lock the deployment and the set, in the order that all do."""
    await hold_fence(tx, fence)
    await lock_deployment(tx, kept.deployment)
    rows = await tx.execute(
        select(RouteSet)
        .where(RouteSet.id == kept.route_set)
        .with_for_update()
        .execution_options(populate_existing=True),
    )
    return rows.scalar_one()


async def _change(tx: AsyncSession, row: RouteSet, statement: Update, *, failures: int = 0) -> frozenset[RouteId]:
    """Apply a change of replicas, publish it, and tell the rollout when the set's condition turned."""
    changed = frozenset(RouteId(route) for route in await tx.scalars(statement.returning(Route.id)))
    if changed:
        row.replacements += failures if row.state is RouteSetState.OPEN else 0
        await tx.flush()
        await raise_epoch(tx, row.deployment)
        await tell_rollout(tx, row)
    return changed


async def _terminate(tx: AsyncSession, row: RouteSet, which: ColumnElement[bool]) -> frozenset[RouteId]:
    return await _change(
        tx,
        row,
        update(Route)
        .where(which, Route.status.in_([RouteStatus.PROVISIONING, RouteStatus.RUNNING]))
        .values(status=RouteStatus.TERMINATING),
    )


def _counts_as_wanted(route_set: int) -> ColumnElement[bool]:
    return (Route.set_id == route_set) & Route.ended_at.is_(None) & (Route.status != RouteStatus.TERMINATING)


def _still_drains(row: RouteSet, kept: KeptSet) -> bool:
    """Whether it is the drain that was decided about, and not a later one."""
    return row.state is RouteSetState.DRAINING and row.drain_epoch == kept.drain_epoch


async def _count_running_requests(tx: AsyncSession, row: RouteSet) -> int:
    """Count the requests that live routers have reported of this drain."""
    running = await tx.scalar(
        select(func.coalesce(func.sum(RouterLoad.running), 0))
        .join(Router, Router.node == RouterLoad.router)
        .where(RouterLoad.route_set == row.id, RouterLoad.reported_at >= row.drain_since, is_live),
    )
    return int(running or 0)
