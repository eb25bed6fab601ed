"""Freezing: while a freeze of a deployment, or one of all, holds, nothing is switched to green; the way back is open.

Freezes are rows with moments that are compared with the database's clock, so that a planned one needs no process that
begins or ends it. A switch holds an advisory lock together with all other switches, and whoever freezes all
deployments holds it alone: no switch commits after that has been answered.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Update,
    bindparam,
    func,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.expiry import refuse_far
from celadon.domain.language.contracts import GATE_CHANGED
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.freeze import FreezesRead
from celadon.domain.language.moments import utc
from celadon.domain.language.states import DeploymentLifecycle
from celadon.table.core.author import Author
from celadon.table.core.clock import database_now
from celadon.table.core.deployment_rules import is_destroyed
from celadon.table.core.epoch import wake_up
from celadon.table.core.freeze_rows import ever_holds, freeze_of, of_deployment_or_all
from celadon.table.core.listen import ALL_DEPLOYMENTS
from celadon.table.core.locks import DeploymentLock, lock_deployment
from celadon.table.core.models import Deployment, FreezeRow, OutboxMessage, Rollout, RolloutEvent
from celadon.table.notifications.held import rollouts_that_wait, tell_frozen, tell_unfrozen
from celadon.table.records.changes import Frozen, Unfrozen
from celadon.table.rollouts.audit import selected_line

MOST_FREEZES: Final = 10
"""How many freezes of a deployment, and of all, may hold or be to come at once."""
_MOST_READ: Final = 100

_SWITCHES_LOCK: Final = 0x63656C_66726565
"""The number of the advisory lock; any will do that nobody else takes."""
_SHARED: Final = select(func.pg_advisory_xact_lock_shared(_SWITCHES_LOCK))
_ALONE: Final = select(func.pg_advisory_xact_lock(_SWITCHES_LOCK))

_now: Final = func.clock_timestamp()
not_over: Final = or_(FreezeRow.ends_at.is_(None), FreezeRow.ends_at > _now) & ever_holds
"""A freeze that holds or is to come."""
holds: Final = not_over & (FreezeRow.begins_at <= _now)
"""A freeze that holds now."""


_READ: Final = (
    select(FreezeRow, _now.label("now"))
    .where(
        of_deployment_or_all(bindparam("deployment")),
        ever_holds,
        or_(
            FreezeRow.ends_at.is_(None),
            # What is told of since may be the moment of a rollout whose clock is ahead; without one, it is now.
            FreezeRow.ends_at > func.least(bindparam("since", type_=DateTime(timezone=True)), _now),
        ),
    )
    .order_by(FreezeRow.id.desc())
    .limit(_MOST_READ)
    .execution_options(populate_existing=True)
)


class FreezeOrder(Author):
    """Somebody wants that nothing is switched."""

    deployment: str | None
    """Nothing for all deployments."""
    begins_at: datetime | None = None
    """Nothing for at once."""
    ends_at: datetime | None = None
    """Nothing for until somebody ends it."""
    rollbacks: bool = True
    """Whether a rollback inside its window switches all the same."""


class UnfreezeOrder(Author):
    """Somebody wants that switches are possible again."""

    deployment: str | None
    """Whose freezes end; nothing for those of all deployments."""


async def bar_freezing_all(tx: AsyncSession) -> None:
    """Let nobody freeze all deployments before this transaction has ended; it stands before any other lock."""
    await tx.execute(_SHARED)


async def read_freezes(tx: AsyncSession, deployment: str, since: datetime | None = None) -> FreezesRead:
    """Return the freezes that hold or are to come, and with ``since`` those that have ended after that."""
    rows = (await tx.execute(_READ, {"deployment": deployment, "since": since})).all()
    if not rows:
        return FreezesRead(at=await database_now(tx))
    return FreezesRead(at=rows[0].now, freezes=tuple(freeze_of(row.FreezeRow) for row in rows))


async def freeze(tx: AsyncSession, order: FreezeOrder) -> Frozen:
    """Let nothing be switched to green from ``begins_at`` to ``ends_at``; the way back stays open.

    Once it has answered no switch commits that began before: of one deployment by the lock of its row, of all by the
    advisory lock.

    Raises:
        RefusedError: there is no such deployment, it ends before it begins, a moment of it is
            more than ten years ahead, or there are too many freezes already.

    """
    lock = await _lock(tx, order.deployment)
    now = await database_now(tx)
    begins_at = max(order.begins_at or now, now)
    far = refuse_far("begins_at", begins_at, now) or refuse_far("ends_at", order.ends_at, now)
    if far is not None:
        raise RefusedError(far)
    if order.ends_at is not None and order.ends_at <= begins_at:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"until {utc(order.ends_at)} it would hold nothing: it begins at {utc(begins_at)}",
            "give a later moment, or none for a freeze that somebody ends",
        )
    known = await tx.scalar(select(func.count()).where(_of(order.deployment), not_over))
    if (known or 0) >= MOST_FREEZES:
        raise refuse(
            RefusalCode.TOO_MANY_FREEZES,
            f"there are {known} freezes already that hold or are to come, and {MOST_FREEZES} are possible at once",
            f"end them with 'celadon unfreeze {order.deployment or '--all'}'",
        )
    row = FreezeRow(
        deployment=order.deployment,
        begins_at=begins_at,
        ends_at=order.ends_at,
        rollbacks=order.rollbacks,
        actor=order.by,
        issuer=order.issuer,
        door=order.door,
        reason=order.reason,
        verified=order.verified,
    )
    tx.add(row)
    await tx.flush()
    evidence = {
        "freeze": str(row.id),
        "begins_at": begins_at.isoformat(),
        **({} if order.ends_at is None else {"ends_at": order.ends_at.isoformat()}),
        **({} if order.rollbacks else {"rollbacks": "no"}),
    }
    await _tell(tx, lock, order, "frozen", evidence, "a freeze was ordered")
    await tell_frozen(tx, await _waiting(tx, lock), freeze_of(row), order, now)
    return Frozen(deployment=order.deployment, freeze=row.id, begins_at=begins_at, ends_at=order.ends_at)


async def unfreeze(tx: AsyncSession, order: UnfreezeOrder) -> Unfrozen:
    """End all freezes of a deployment, or all those of all deployments; those that are to come never begin.

    Raises:
        RefusedError: there is no such deployment, or nothing is frozen.

    """
    lock = await _lock(tx, order.deployment)
    ended = (
        await tx.scalars(
            _end(order.deployment).returning(FreezeRow.id),
        )
    ).all()
    left = [] if order.deployment is None else list((await read_freezes(tx, order.deployment)).freezes)
    if not ended:
        where = f"no freeze of {order.deployment} holds or is to come"
        raise refuse(
            RefusalCode.NOT_FROZEN,
            "no freeze of all deployments holds or is to come" if order.deployment is None else where,
            "a freeze of all deployments is ended with 'celadon unfreeze --all'"
            if left
            else "look at a deployment with 'celadon deployment show'",
        )
    evidence = {"freezes": ", ".join(str(one) for one in sorted(ended))}
    await _tell(tx, lock, order, "unfrozen", evidence, "a freeze has ended")
    await tell_unfrozen(tx, await _waiting(tx, lock), ended)
    return Unfrozen(
        deployment=order.deployment,
        ended=tuple(sorted(ended)),
        left=tuple(sorted(one.id for one in left)),
    )


async def _waiting(tx: AsyncSession, lock: DeploymentLock | None) -> tuple[Rollout, ...]:
    return await rollouts_that_wait(tx, true() if lock is None else Rollout.deployment == lock.name)


async def end_freezes_of(tx: AsyncSession, lock: DeploymentLock) -> None:
    """End the freezes of a deployment that begins anew."""
    await tx.execute(_end(lock.name))


def _end(deployment: str | None) -> Update:
    """Return the statement that ends freezes now; those that are to come never begin."""
    ends_at = func.greatest(_now, FreezeRow.begins_at)
    return update(FreezeRow).where(_of(deployment), not_over).values(ends_at=ends_at)


async def _lock(tx: AsyncSession, deployment: str | None) -> DeploymentLock | None:
    if deployment is None:
        await tx.execute(_ALONE)
        return None
    locked = await lock_deployment(tx, deployment)
    if locked.row.lifecycle is DeploymentLifecycle.DESTROYED:
        raise refuse(
            RefusalCode.DEPLOYMENT_DELETED,
            f"deployment {deployment} is {locked.row.lifecycle.value}",
            "a new rollout ('celadon deploy -f FILE') starts it anew",
        )
    return locked


def _of(deployment: str | None) -> ColumnElement[bool]:
    return FreezeRow.deployment.is_(None) if deployment is None else FreezeRow.deployment == deployment


async def _tell(
    tx: AsyncSession, lock: DeploymentLock | None, author: Author, kind: str, evidence: dict[str, str], what: str
) -> None:
    """Write a line into the log of each deployment concerned, and owe each rollout before its switch the news.

    One statement each, however many deployments there are.
    """
    there: Sequence[ColumnElement[bool]] = [~is_destroyed]
    if lock is not None:
        there = [Deployment.name == lock.name]
    under_way = Rollout.outcome.is_(None) & Rollout.switched_at.is_(None)
    line = {"deployment": Deployment.name, "rollout": Rollout.id, **selected_line(kind, author, evidence)}
    lines = (
        select(*line.values())
        .outerjoin(Rollout, (Rollout.deployment == Deployment.name) & under_way)
        .where(*there)
        .order_by(Deployment.name)
    )
    await tx.execute(insert(RolloutEvent).from_select([*line], lines))
    signals = (
        select(
            Rollout.workflow_id,
            literal(GATE_CHANGED),
            func.jsonb_build_object("rollout", Rollout.id, "what", what),
        )
        .join(Deployment, Deployment.name == Rollout.deployment)
        .where(under_way, *there)
        .order_by(Rollout.id)
    )
    await tx.execute(insert(OutboxMessage).from_select(["workflow_id", "signal", "payload"], signals))
    await tx.execute(wake_up(ALL_DEPLOYMENTS if lock is None else lock.name, 0, owes=True))
