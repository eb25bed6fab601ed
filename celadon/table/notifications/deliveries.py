"""Deliveries: claimed by a worker for one attempt, marked with what came of it, and what people see of them.

A claim is a row whose next attempt is the moment at which its worker counts as dead: a worker that dies between
sending and marking leaves the delivery to another, which sends the same id again.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from celadon.domain.decisions.delivery import Attempt, Judgement, Verdict
from celadon.domain.language.base_models import Record
from celadon.domain.language.error_words import problems_of
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.notification import TEST_KIND, DeliveryState, Notice
from celadon.table.core.clock import database_now
from celadon.table.core.listen import NOTIFICATIONS_CHANNEL, notification
from celadon.table.core.models import Delivery, Notification, NotifyTarget
from celadon.table.notifications.notification_rows import owe
from celadon.table.notifications.targets import NotifyTargetRecord, disable_target, lock_target
from celadon.table.records.deliveries import ToldRecord


class DeliveryClaim(Record):
    """One delivery that this worker alone attempts now."""

    delivery: int
    attempts: int
    """With the one that the claim is for; it tells one claim of a delivery from the next."""
    notification: str
    at: datetime
    due_at: datetime
    notice: Notice | None
    """Nothing when this version cannot read it."""
    unreadable_because: str = ""
    """Why there is no notice."""


class Due(Record):
    """What is to be done, at one moment of the database's clock."""

    targets: tuple[str, ...]
    """Targets with deliveries to attempt now."""
    next_in: timedelta | None
    """When the next one will be due; nothing when none waits."""


class TargetLoad(Record):
    """How far a target is behind."""

    target: str
    waiting: int
    """Due and not delivered."""
    dead: int
    oldest_due_at: datetime | None
    """Of those that wait."""
    disabled_reason: str = ""
    last_error: str = ""


async def read_due(tx: AsyncSession) -> Due:
    """Return which targets have something to send, and when to look again."""
    now = await database_now(tx)
    rows = (
        await tx.execute(
            select(Delivery.target, func.min(Delivery.next_attempt_at).label("next"))
            .where(Delivery.state == DeliveryState.WAITING)
            .group_by(Delivery.target)
            .order_by(Delivery.target),
        )
    ).all()
    later = [row.next for row in rows if row.next > now]
    return Due(
        targets=tuple(row.target for row in rows if row.next <= now),
        next_in=min(later) - now if later else None,
    )


async def claim(tx: AsyncSession, target: str, *, limit: int, lease: timedelta) -> tuple[DeliveryClaim, ...]:
    """Claim deliveries to a target for one attempt, for as long as ``lease``.

    Of each rollout only the oldest that is due: what happened later is told later, also when the first is tried again.
    """
    earlier = aliased(Delivery)
    now = await database_now(tx)
    blocked = (
        select(earlier.id)
        .where(
            earlier.rollout == Delivery.rollout,
            earlier.target == Delivery.target,
            earlier.state == DeliveryState.WAITING,
            earlier.id < Delivery.id,
            earlier.due_at <= now,
        )
        .exists()
    )
    rows = (
        await tx.scalars(
            select(Delivery)
            .where(
                Delivery.target == target,
                Delivery.state == DeliveryState.WAITING,
                Delivery.next_attempt_at <= now,
                ~blocked,
            )
            .order_by(Delivery.next_attempt_at, Delivery.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True),
        )
    ).all()
    claims = []
    for row in rows:
        message = await tx.get_one(Notification, row.notification)
        row.attempts += 1
        row.attempted_at, row.next_attempt_at = now, now + lease
        notice, unreadable_because = _read(message.notice)
        claims.append(
            DeliveryClaim(
                delivery=row.id,
                attempts=row.attempts,
                notification=row.notification,
                at=message.at,
                due_at=row.due_at,
                notice=notice,
                unreadable_because=unreadable_because,
            ),
        )
    await tx.flush()
    return tuple(claims)


def _read(stored: Mapping[str, object]) -> tuple[Notice | None, str]:
    """Return a notice, or why it cannot be read: one such notice keeps back no other."""
    try:
        return Notice.of_stored(stored), ""
    except ValidationError as error:
        why = problems_of(error).partition("; ")[0]
        return None, f"this version of Celadon cannot read the notice ({why}); upgrade the workers"


async def mark(tx: AsyncSession, claimed: DeliveryClaim, target: str, attempt: Attempt, judgement: Judgement) -> None:
    """Write down what came of an attempt. One whose claim has passed to another worker writes a success only."""
    now = await database_now(tx)
    change = (
        update(Delivery)
        .where(Delivery.id == claimed.delivery)
        .values(last_status=attempt.status, last_error=judgement.told)
    )
    if judgement.verdict is Verdict.DELIVERED:
        await tx.execute(
            change.where(Delivery.state != DeliveryState.DELIVERED).values(
                state=DeliveryState.DELIVERED,
                delivered_at=now,
            ),
        )
        # What waits behind it is due now.
        await tx.execute(notification(NOTIFICATIONS_CHANNEL, target))
        return
    own = change.where(Delivery.attempts == claimed.attempts)
    if judgement.verdict is Verdict.DISABLE:
        # First, so that two of them meet at the target's row and not at each other's deliveries.
        await disable_target(tx, target, judgement.told)
        await tx.execute(own.where(Delivery.state == DeliveryState.DEAD))
        return
    own = own.where(Delivery.state == DeliveryState.WAITING)
    if judgement.verdict is Verdict.RETRY:
        await tx.execute(own.values(next_attempt_at=now + judgement.pause))
    else:
        await tx.execute(own.values(state=DeliveryState.DEAD))
        await tx.execute(notification(NOTIFICATIONS_CHANNEL, target))


async def retry_dead(tx: AsyncSession, target: str) -> int:
    """Begin anew with what was given up for a target; return how many there were.

    Raises:
        RefusedError: there is no such target, or it is disabled.

    """
    row = await lock_target(tx, target)
    if row.disabled_at is not None:
        raise refuse(
            RefusalCode.TARGET_DISABLED,
            f"target {target} is disabled: {row.disabled_reason}",
            f"enable it first with 'celadon notify target enable {target}'",
        )
    now = await database_now(tx)
    again = await tx.scalars(
        update(Delivery)
        .where(Delivery.target == target, Delivery.state == DeliveryState.DEAD)
        .values(state=DeliveryState.WAITING, due_at=now, next_attempt_at=now, attempts=0)
        .returning(Delivery.id),
    )
    await tx.execute(notification(NOTIFICATIONS_CHANNEL, target))
    return len(again.all())


async def owe_test(tx: AsyncSession, target: str, by: str) -> str:
    """Owe a target a sample; return its id, which :func:`read_delivery` takes.

    Raises:
        RefusedError: there is no such target.

    """
    row = await lock_target(tx, target)
    lost = row.disabled_reason if row.disabled_at is not None else ""
    now = await database_now(tx)
    sample = Notice(
        deployment="sample",
        rollout=1,
        kind=TEST_KIND,
        workflow_id="rollout-sample",
        run_id="",
        from_revision=1,
        to_revision=2,
        phase="awaiting_promotion",
        actor=by,
        reason="sent by 'celadon notify target test'; nothing has happened",
        commands={"list": "celadon notify target list"},
    )
    identity: str | None = await tx.scalar(
        insert(Notification)
        .values(kind=TEST_KIND, at=now, notice=sample.model_dump(mode="json"))
        .returning(Notification.id),
    )
    if identity is None:
        raise LookupError("the sample was not written")
    await owe(tx, identity, None, {target: lost}, None)
    await tx.execute(notification(NOTIFICATIONS_CHANNEL, target))
    return identity


async def read_target_of(tx: AsyncSession, target: str) -> NotifyTargetRecord | None:
    """Return a target; nothing when it has been removed."""
    row = await tx.get(NotifyTarget, target)
    return None if row is None else NotifyTargetRecord.of(row)


async def read_loads(tx: AsyncSession) -> tuple[TargetLoad, ...]:
    """Return how far every target is behind, with those that have been removed but left something dead."""
    now = await database_now(tx)
    waiting = (Delivery.state == DeliveryState.WAITING) & (Delivery.due_at <= now)
    rows = await tx.execute(
        select(
            Delivery.target,
            func.count().filter(waiting).label("waiting"),
            func.count().filter(Delivery.state == DeliveryState.DEAD).label("dead"),
            func.min(Delivery.due_at).filter(waiting).label("oldest"),
            func.max(Delivery.last_error).filter(waiting).label("error"),
        )
        .where(Delivery.state.in_([DeliveryState.WAITING, DeliveryState.DEAD]))
        .group_by(Delivery.target),
    )
    behind = {row.target: row for row in rows}
    reasons = await _disabled_reasons(tx)
    return tuple(
        TargetLoad(
            target=name,
            waiting=behind[name].waiting if name in behind else 0,
            dead=behind[name].dead if name in behind else 0,
            oldest_due_at=behind[name].oldest if name in behind else None,
            disabled_reason=reasons.get(name, ""),
            last_error=(behind[name].error or "") if name in behind else "",
        )
        for name in sorted(behind.keys() | reasons.keys())
    )


async def _disabled_reasons(tx: AsyncSession) -> Mapping[str, str]:
    rows = await tx.execute(select(NotifyTarget.name, NotifyTarget.disabled_at, NotifyTarget.disabled_reason))
    return {row.name: row.disabled_reason if row.disabled_at is not None else "" for row in rows}


async def read_told(
    tx: AsyncSession,
    deployment: str | None,
    *,
    rollout: int | None = None,
    since: int | None = None,
    before: int | None = None,
    limit: int,
) -> tuple[ToldRecord, ...]:
    """Return the last deliveries, newest first; what was to be told later and never was is left out.

    Args:
        tx: reads them.
        deployment: those of this deployment alone.
        rollout: those of this rollout alone.
        since: those of this rollout and of later ones.
        before: those of rollouts that are older than this one.
        limit: how many at most.

    """
    query = select(Delivery, Notification).join(Notification, Notification.id == Delivery.notification)
    query = query.where(Delivery.state != DeliveryState.CANCELLED)
    if deployment is not None:
        query = query.where(Notification.deployment == deployment)
    if rollout is not None:
        query = query.where(Notification.rollout == rollout)
    if since is not None:
        query = query.where(Notification.rollout >= since)
    if before is not None:
        query = query.where(Notification.rollout < before)
    rows = (await tx.execute(query.order_by(Delivery.id.desc()).limit(limit))).all()
    return tuple(_told(delivery, message) for delivery, message in rows)


async def read_delivery(tx: AsyncSession, notification_id: str) -> ToldRecord:
    """Return the only delivery of a sample."""
    row = (
        await tx.execute(
            select(Delivery, Notification)
            .join(Notification, Notification.id == Delivery.notification)
            .where(Notification.id == notification_id),
        )
    ).one()
    return _told(row[0], row[1])


def _told(delivery: Delivery, told: Notification) -> ToldRecord:
    return ToldRecord(
        notification=told.id,
        rollout=told.rollout,
        kind=told.kind,
        at=told.at,
        target=delivery.target,
        state=delivery.state,
        attempts=delivery.attempts,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
        due_at=delivery.due_at,
        delivered_at=delivery.delivered_at,
        next_attempt_at=delivery.next_attempt_at if delivery.state is DeliveryState.WAITING else None,
    )
