"""Whether blue can take the traffic again, counted under the deployment's lock."""

from typing import Final

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.names import Fence
from celadon.domain.language.policy import required_healthy
from celadon.domain.language.states import RouteSetState
from celadon.table.core.fences import LIVING
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import Rollout, Route, RouteSet
from celadon.table.core.policies import read_policy
from celadon.table.core.replica_rules import is_healthy_and_counts, runs_and_counts

_healthy: Final = select(
    func.count(),
    func.count().filter(Route.health_fence.is_not_distinct_from(bindparam("fence"))),
).where(
    Route.set_id == bindparam("set"),
    is_healthy_and_counts,
)
_living = LIVING.scalar_subquery()
_vouched_for: Final = select(
    _living.label("fence"),
    func.count().label("healthy"),
    func.count().filter(Route.health_fence == _living).label("confirmed"),
).where(
    Route.set_id == bindparam("set"),
    is_healthy_and_counts,
)


class Vouched(Record):
    """What a living keeper says of the health of a set."""

    fence: Fence | None
    """The living keeper's; nothing when no keeper lives."""
    healthy: int
    """How many replicas are healthy, whoever saw it."""
    confirmed: int
    """How many of them the living keeper has seen."""


class WayBack(Record):
    """What the table says of a switch back."""

    refusal: Refusal | None = None
    """Why blue cannot take the traffic; only ``NO_HEALTHY_BLUE`` passes."""
    healthy: int = 0
    required: int = 0
    wanted: int = 0


async def read_way_back(
    tx: AsyncSession,
    lock: DeploymentLock,
    rollout: Rollout,
    blue: RouteSet,
    green: RouteSet,
) -> WayBack:
    """Return whether blue can take the traffic.

    One healthy replica is enough when green is sick, and when blue drains: then it is refilled only once it is live
    again. While it bakes and green is healthy, blue must fulfil ``min_healthy``. A blue that drains is lost once none
    of its replicas runs; until then a sick one may recover.
    """
    wanted = wanted_again(rollout, blue)
    if blue.state is RouteSetState.GONE:
        return WayBack(refusal=_drained(lock, "blue has drained and its replicas have stopped"), wanted=wanted)
    if wanted == 0:
        return WayBack()
    share = read_policy(rollout.policy).min_healthy
    healthy, _ = await count_healthy(tx, lock, blue.id, None)
    drains = blue.state is RouteSetState.DRAINING
    required = 1 if drains or not await _is_healthy(tx, lock, green, share) else required_healthy(blue.wanted, share)
    refusal: Refusal | None = None
    if healthy < required:
        if drains and not await _count_running(tx, blue.id):
            refusal = _drained(lock, "blue drains and has no running replica left")
        else:
            refusal = Refusal(
                code=RefusalCode.NO_HEALTHY_BLUE,
                message="blue cannot take the traffic for the moment "
                f"({healthy} of {wanted} healthy, {required} required)",
                next_step="try again when blue is healthy, or start a rollout with the revision that should be live",
            )
    return WayBack(refusal=refusal, healthy=healthy, required=required, wanted=wanted)


def wanted_again(rollout: Rollout, blue: RouteSet) -> int:
    """Return how many replicas blue will want when it is live again: a scaling leaves a set that drains alone."""
    if blue.state is RouteSetState.DRAINING and rollout.scaled_to is not None:
        return rollout.scaled_to
    return blue.wanted


async def count_healthy(
    tx: AsyncSession,
    _lock: DeploymentLock,
    route_set: int,
    fence: Fence | None,
) -> tuple[int, int]:
    """Count the healthy replicas of a set, and those of them that the keeper of ``fence`` has seen.

    The keeper changes health only under the deployment's lock, so that the count holds until the transaction ends.
    """
    row = (await tx.execute(_healthy, {"set": route_set, "fence": fence})).one()
    return row[0], row[1]


async def count_vouched_for(tx: AsyncSession, _lock: DeploymentLock, route_set: int) -> Vouched:
    """Count the healthy replicas of a set as :func:`count_healthy` does, by the fence of the keeper that lives."""
    row = (await tx.execute(_vouched_for, {"set": route_set})).one()
    fence = None if row.fence is None else Fence(row.fence)
    return Vouched(fence=fence, healthy=row.healthy, confirmed=row.confirmed)


async def _is_healthy(tx: AsyncSession, lock: DeploymentLock, green: RouteSet, share: int | str) -> bool:
    required = required_healthy(green.wanted, share)
    healthy, _ = await count_healthy(tx, lock, green.id, None)
    return required > 0 and healthy >= required


async def _count_running(tx: AsyncSession, route_set: int) -> int:
    running = await tx.scalar(
        select(func.count()).where(
            Route.set_id == route_set,
            runs_and_counts,
        ),
    )
    return int(running or 0)


def _drained(lock: DeploymentLock, message: str) -> Refusal:
    return Refusal(
        code=RefusalCode.BLUE_DRAINED,
        message=message,
        next_step=f"once this rollout has ended, 'celadon rollback {lock.name}' starts one back to the revision that "
        "was live before, without a gate inside the rollback window",
    )
