"""The signal that a rollout asks for when the table refuses a step for the moment, and who owes it.

One column says which; the transaction that refuses sets it, and the one that ends the cause clears it and owes the
signal. So a rollout is told once for each attempt, whichever keeper lives by then, and nothing is polled.
"""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.contracts import BLUE_CHANGED, KEEPER_BACK, ROOM_CHANGED
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.messages import BlueChanged, KeeperBack, RoomChanged
from celadon.domain.language.names import RolloutId, RouteSetId
from celadon.domain.language.policy import required_healthy
from celadon.table.core.fences import newest_fence
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import Deployment, Rollout, RouteSet
from celadon.table.core.owed_signals import owe_signal
from celadon.table.core.policies import read_policy
from celadon.table.core.room import count_capacity
from celadon.table.rollouts.admission import find_room, size_at_opening, wanted_at_last
from celadon.table.rollouts.way_back import count_healthy, read_way_back


async def answer_asked(tx: AsyncSession, lock: DeploymentLock) -> None:
    """Owe the rollout under way the signal that it asks for, if replicas are by now as it waits for.

    It stands in every transaction that changes replicas, or how many are wanted.
    """
    await tx.flush()
    rollout = await _find_asking(tx, lock)
    if rollout is None:
        return
    news: BlueChanged | KeeperBack | RoomChanged | None = None
    if rollout.awaits_signal == BLUE_CHANGED:
        news = await _of_blue(tx, lock, rollout)
    elif rollout.awaits_signal == KEEPER_BACK:
        news = await _of_keeper(tx, lock, rollout)
    elif rollout.awaits_signal == ROOM_CHANGED:
        news = await _of_room(tx, lock, rollout)
    if news is None or rollout.awaits_signal is None:
        return
    await owe_signal(tx, rollout.workflow_id, rollout.awaits_signal, news)
    rollout.awaits_signal = None
    await tx.flush()


async def _find_asking(tx: AsyncSession, lock: DeploymentLock) -> Rollout | None:
    row: Rollout | None = await tx.scalar(
        select(Rollout)
        .where(Rollout.deployment == lock.name, Rollout.outcome.is_(None), Rollout.awaits_signal.is_not(None))
        .execution_options(populate_existing=True),
    )
    return row


async def _of_blue(tx: AsyncSession, lock: DeploymentLock, rollout: Rollout) -> BlueChanged | None:
    """Return what there is to tell of blue: that it can take the traffic, or never again."""
    blue = await tx.get(RouteSet, rollout.blue_set)
    green = await tx.get(RouteSet, rollout.green_set)
    if blue is None or green is None:
        return None
    way_back = await read_way_back(tx, lock, rollout, blue, green)
    if way_back.refusal is not None and way_back.refusal.code is RefusalCode.NO_HEALTHY_BLUE:
        return None
    epoch = await tx.scalar(select(Deployment.epoch).where(Deployment.name == rollout.deployment))
    return BlueChanged(
        rollout=RolloutId(rollout.id),
        route_set=RouteSetId(blue.id),
        seq=epoch or 0,
        ready=way_back.healthy,
        required=way_back.required,
        wanted=way_back.wanted,
        gone=way_back.refusal is not None,
    )


async def _of_room(tx: AsyncSession, lock: DeploymentLock, rollout: Rollout) -> RoomChanged | None:
    """Return that there is room for green, or for its growth, once there is."""
    green = None if rollout.green_set is None else await tx.get(RouteSet, rollout.green_set)
    more = size_at_opening(rollout) if green is None else wanted_at_last(rollout) - green.wanted
    if await find_room(tx, lock, rollout, more) is not None:
        return None
    used = await count_capacity(tx, lock.name)
    return RoomChanged(rollout=RolloutId(rollout.id), used=used, bound=rollout.policy.get("max_total_replicas") or used)


async def _of_keeper(tx: AsyncSession, lock: DeploymentLock, rollout: Rollout) -> KeeperBack | None:
    """Return that the newest keeper has seen enough healthy greens, once it has."""
    green = await tx.get(RouteSet, rollout.green_set)
    if green is None:
        return None
    required = required_healthy(green.wanted, read_policy(rollout.policy).min_healthy)
    _, confirmed = await count_healthy(tx, lock, green.id, await newest_fence(tx))
    if confirmed < required:
        return None
    return KeeperBack(rollout=RolloutId(rollout.id), ready=confirmed, required=required)
