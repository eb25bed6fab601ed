"""Admission: whether the bound on a deployment's replicas leaves room, for a rollout, its growth and a scaling."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.preview import opens_as_preview, size_of_green
from celadon.domain.decisions.room import refuse_bound, refuse_for_room
from celadon.domain.language.errors import Refusal, RefusedError
from celadon.domain.language.policy import BlueGreenPolicy, OnNoRoom
from celadon.table.core.defaults import read_defaults
from celadon.table.core.deployment_rules import is_destroyed
from celadon.table.core.locks import DeploymentLock, LockedDeployment
from celadon.table.core.models import Deployment, Rollout, RouteSet
from celadon.table.core.policies import read_policy, resolve_for
from celadon.table.core.room import count_capacity


async def admit_start(
    tx: AsyncSession,
    locked: LockedDeployment,
    policy: BlueGreenPolicy,
    replicas: int,
    *,
    gated: bool,
    asks_for_room: bool,
) -> Refusal | None:
    """Return why a rollout that may begin has to wait for room, or ``None`` when there is room for its green.

    One that could not begin now anyway asks for no room; whether any rollout can keep the bound counts all the same.

    Raises:
        RefusedError: there is no room and the policy does not wait, or no rollout can keep the bound.

    """
    bound = policy.max_total_replicas
    if bound is None:
        return None
    unkeepable = refuse_bound(locked.name, blue=await _live_size(tx, locked), green=replicas, bound=bound)
    if unkeepable is not None:
        raise RefusedError(unkeepable)
    if not asks_for_room:
        return None
    more = size_of_green(policy, replicas, is_preview=opens_as_preview(policy, gated=gated))
    no_room = refuse_for_room(locked.name, used=await count_capacity(tx, locked.name), more=more, bound=bound)
    if no_room is not None and policy.on_no_room is OnNoRoom.REFUSE:
        raise RefusedError(no_room)
    return no_room


async def admit_policy(tx: AsyncSession, locked: LockedDeployment, policy: BlueGreenPolicy) -> None:
    """Refuse a deployment's own policy whose bound leaves no room for a green as large as what is live.

    Raises:
        RefusedError: it does not.

    """
    if policy.max_total_replicas is None:
        return
    refusal = refuse_bound(
        locked.name,
        blue=await _live_size(tx, locked),
        green=locked.row.replicas,
        bound=policy.max_total_replicas,
    )
    if refusal is not None:
        raise RefusedError(refusal)


async def find_unkeepable(tx: AsyncSession, bound: int) -> Refusal | None:
    """Return why a deployment that gives no bound of its own could not keep a default one, or ``None`` when all can."""
    blue = func.coalesce(RouteSet.wanted, 0)
    row = (
        await tx.execute(
            select(Deployment.name, Deployment.replicas, blue.label("blue"))
            .outerjoin(RouteSet, RouteSet.id == Deployment.live_set)
            .where(
                ~is_destroyed,
                ~func.jsonb_exists(Deployment.policy, "max_total_replicas"),
                Deployment.replicas + blue > bound,
            )
            .order_by(Deployment.name)
            .limit(1)
        )
    ).one_or_none()
    return None if row is None else refuse_bound(row.name, blue=row.blue, green=row.replicas, bound=bound)


async def find_room(tx: AsyncSession, lock: DeploymentLock, rollout: Rollout, more: int) -> Refusal | None:
    """Return why the green of a rollout cannot have ``more`` replicas now, or ``None`` when it can."""
    bound = rollout.policy.get("max_total_replicas")
    if bound is None:
        return None
    return refuse_for_room(lock.name, used=await count_capacity(tx, lock.name), more=more, bound=bound)


def wanted_at_last(rollout: Rollout) -> int:
    """Return how many replicas green wants once it is live."""
    return rollout.replicas if rollout.scaled_to is None else rollout.scaled_to


def size_at_opening(rollout: Rollout) -> int:
    """Return how many replicas green wants when it is opened."""
    policy = read_policy(rollout.policy)
    return size_of_green(policy, wanted_at_last(rollout), is_preview=opens_as_preview(policy, gated=rollout.gated))


def sizes_of_sets(rollout: Rollout | None, sets: Sequence[RouteSet], replicas: int) -> dict[int, int]:
    """Return how many replicas each open set wants when the deployment is to have ``replicas``.

    A green that is a preview stays one: it grows once its switch is decided.
    """
    policy = BlueGreenPolicy() if rollout is None else read_policy(rollout.policy)
    return {row.id: size_of_green(policy, replicas, is_preview=row.preview) for row in sets}


async def admit_scaling(
    tx: AsyncSession, locked: LockedDeployment, rollout: Rollout | None, sets: Sequence[RouteSet], replicas: int
) -> None:
    """Refuse a scaling for which there is no room, or after which the green of a rollout could never go live.

    A green that is not opened yet counts too: its rollout was admitted, or waits for room.

    Raises:
        RefusedError: so it is.

    """
    if rollout is None:
        policy = resolve_for(locked.name, await read_defaults(tx), read_policy(locked.row.policy))
    else:
        policy = read_policy(rollout.policy)
    bound = policy.max_total_replicas
    if bound is None:
        return
    sizes = sizes_of_sets(rollout, sets, replicas)
    before, after = sum(row.wanted for row in sets), sum(sizes.values())
    used = await count_capacity(tx, locked.name)
    colours = len(sets)
    if rollout is not None and rollout.green_set is None:
        is_preview = opens_as_preview(policy, gated=rollout.gated)
        reserved = size_at_opening(rollout)
        before, used, colours = before + reserved, used + reserved, colours + 1
        after += size_of_green(policy, replicas, is_preview=is_preview)
    refusal = refuse_for_room(locked.name, used=used, more=after - before, bound=bound)
    if refusal is None and replicas > max((row.wanted for row in sets), default=0):
        # A preview has less now than it needs once its switch is decided.
        refusal = refuse_for_room(locked.name, used=0, more=colours * replicas, bound=bound)
    if refusal is not None:
        raise RefusedError(refusal)


async def _live_size(tx: AsyncSession, locked: LockedDeployment) -> int:
    if locked.row.live_set is None:
        return 0
    return await tx.scalar(select(RouteSet.wanted).where(RouteSet.id == locked.row.live_set)) or 0
