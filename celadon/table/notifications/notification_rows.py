"""Rows of notifications and of what is owed of them, for whoever knows what to tell."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.notification_rules import AuditLine, NotificationIntent, RolloutFacts, notice
from celadon.domain.language.notification import DeliveryState, NotificationKind, TargetSubscription, audience
from celadon.table.core.listen import NOTIFICATIONS_CHANNEL, notification
from celadon.table.core.models import Delivery, Notification, NotifyTarget, Rollout
from celadon.table.core.policies import read_policy

_targets: Final = select(
    NotifyTarget.name,
    NotifyTarget.every_deployment,
    NotifyTarget.events,
    NotifyTarget.disabled_at,
    NotifyTarget.disabled_reason,
)


class Targets:
    """All targets, read once for all that a transaction tells."""

    def __init__(self, subscriptions: tuple[TargetSubscription, ...], why_not: Mapping[str, str]) -> None:
        """Know what targets are told, and why nothing can be sent to some."""
        self.subscriptions = subscriptions
        self._why_not = why_not

    @property
    def has_any(self) -> bool:
        """Whether anybody is told of what no policy says."""
        return bool(self.subscriptions)

    def lost(self, target: str) -> str:
        """Return why nothing can be sent to a target; empty when it can."""
        return self._why_not.get(target, "the target has been removed")


async def read_targets(tx: AsyncSession) -> Targets:
    """Read all targets."""
    rows = (await tx.execute(_targets)).all()
    return Targets(
        tuple(
            TargetSubscription(
                name=row.name,
                every_deployment=row.every_deployment,
                events=frozenset(NotificationKind(event) for event in row.events),
            )
            for row in rows
            if row.disabled_at is None
        ),
        {row.name: "" if row.disabled_at is None else row.disabled_reason for row in rows},
    )


async def tell_intents(
    tx: AsyncSession, facts: RolloutFacts, line: AuditLine, intents: tuple[NotificationIntent, ...], known: Targets
) -> None:
    """Write what a line tells to those whom it concerns, and wake up the courier when there is anybody."""
    written = False
    for intent in intents:
        targets = audience(intent.kind, facts.policy.notify, known.subscriptions)
        if targets:
            await write(tx, facts, line, intent, {target: known.lost(target) for target in targets})
            written = True
    if written:
        await tx.execute(notification(NOTIFICATIONS_CHANNEL, facts.deployment))


async def write(
    tx: AsyncSession, facts: RolloutFacts, line: AuditLine, told: NotificationIntent, targets: Mapping[str, str]
) -> None:
    """Write one notification and what is owed of it; what was told before stays told once."""
    at = told.due_at or line.at
    written = await tx.scalar(
        insert(Notification)
        .values(
            deployment=facts.deployment,
            rollout=facts.rollout,
            kind=told.kind.value,
            about=told.about,
            event=line.id or None,
            at=at,
            notice=notice(told, line, facts).model_dump(mode="json"),
        )
        .on_conflict_do_nothing(index_elements=["rollout", "kind", "about"])
        .returning(Notification.id),
    )
    if written is None:
        await _owe_again(tx, facts.rollout, told)
    else:
        await owe(tx, written, facts.rollout, targets, told.due_at)


async def owe(
    tx: AsyncSession,
    notification_id: str,
    rollout: int | None,
    targets: Mapping[str, str],
    due_at: datetime | None,
) -> None:
    """Owe targets a notification, from ``due_at`` on or at once.

    ``targets`` say why nothing can be sent to them; one with a reason gets a dead letter.
    """
    due = func.clock_timestamp() if due_at is None else due_at
    await tx.execute(
        insert(Delivery).values(
            [
                {
                    "notification": notification_id,
                    "rollout": rollout,
                    "target": target,
                    "state": DeliveryState.DEAD if lost else DeliveryState.WAITING,
                    "due_at": due,
                    "next_attempt_at": due,
                    "last_error": lost,
                }
                for target, lost in targets.items()
            ],
        ),
    )


async def _owe_again(tx: AsyncSession, rollout: int, told: NotificationIntent) -> None:
    """Owe anew what was cancelled: the rollout nears the same deadline again."""
    same = select(Notification.id).where(
        Notification.rollout == rollout,
        Notification.kind == told.kind.value,
        Notification.about == told.about,
    )
    await tx.execute(
        update(Delivery)
        .where(Delivery.notification.in_(same), Delivery.state == DeliveryState.CANCELLED)
        .values(state=DeliveryState.WAITING, last_error=""),
    )


async def cancel_planned(tx: AsyncSession, rollout: int, why: str) -> None:
    """Cancel what a rollout was to tell later: that its deadline is near, and that a freeze has begun."""
    of_kind = or_(
        Notification.kind == NotificationKind.DEADLINE_NEAR.value,
        (Notification.kind == NotificationKind.HELD.value) & (Notification.at > func.clock_timestamp()),
    )
    await _cancel(tx, select(Notification.id).where(Notification.rollout == rollout, of_kind), why)


async def cancel_deadline(tx: AsyncSession, rollout: int, why: str) -> None:
    """Cancel that the deadline of a rollout is near, since it is another one."""
    near = Notification.kind == NotificationKind.DEADLINE_NEAR.value
    await _cancel(tx, select(Notification.id).where(Notification.rollout == rollout, near), why)


async def cancel_about(tx: AsyncSession, abouts: Collection[str], why: str) -> None:
    """Cancel that rollouts are held by what was to come and never does."""
    of_kind = (Notification.kind == NotificationKind.HELD.value) & (Notification.at > func.clock_timestamp())
    await _cancel(tx, select(Notification.id).where(of_kind, Notification.about.in_(abouts)), why)


async def _cancel(tx: AsyncSession, notifications: Select[Any], why: str) -> None:
    await tx.execute(
        update(Delivery)
        .where(Delivery.notification.in_(notifications), Delivery.state == DeliveryState.WAITING)
        .values(state=DeliveryState.CANCELLED, last_error=why)
    )


def facts_of(row: Rollout) -> RolloutFacts:
    """Return what notifications tell of a rollout."""
    return RolloutFacts(
        deployment=row.deployment,
        rollout=row.id,
        workflow_id=row.workflow_id,
        run_id=row.run_id,
        from_revision=row.from_revision,
        to_revision=row.to_revision,
        requested_by=row.requested_by,
        # Whether its switch is news: that of a first deployment is not.
        gated=row.gated or row.rollback_window is not None,
        phase=row.phase,
        policy=read_policy(row.policy),
    )
