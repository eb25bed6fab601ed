"""Notifications are written in the transaction of the fact that they tell; deliveries are another's work."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.notification_rules import (
    AuditLine,
    NotificationIntent,
    RolloutFacts,
    leaves_the_gate,
    may_tell,
    notice,
    told_by,
)
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.notification import DeliveryState, NotificationKind, TargetSubscription, audience
from celadon.domain.language.policy import BlueGreenPolicy
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

_CANCELLED_WITH_THE_PHASE: Final = "the rollout no longer waits for its promotion"


async def tell(tx: AsyncSession, rollout: int, lines: Sequence[AuditLine]) -> None:
    """Write what lines of the audit log, which this transaction has just written, tell to whom.

    Call it once for each line that is new: a line that an earlier attempt wrote has been told by that attempt.
    """
    if not any(may_tell(line.kind) for line in lines):
        return
    row = await tx.get_one(Rollout, rollout)
    facts = _facts(row)
    known: _Targets | None = None
    written = False
    for line in lines:
        if leaves_the_gate(line.kind) and facts.policy.promotion_deadline is not None:
            await _cancel_deadline(tx, rollout)
        for told in told_by(line, facts):
            if known is None:
                known = await _read_targets(tx)
            targets = audience(told.kind, facts.policy.notify, known.subscriptions)
            if targets:
                await _write(tx, facts, line, told, {target: known.lost(target) for target in targets})
                written = True
    if written:
        await tx.execute(notification(NOTIFICATIONS_CHANNEL, facts.deployment))


async def check_rules(tx: AsyncSession, policy: BlueGreenPolicy) -> None:
    """Refuse a policy that tells a target which nobody has added.

    The targets stay as they are until the transaction ends, so that none is removed in between.

    Raises:
        RefusedError: there is no such target.

    """
    wanted = {rule.target for rule in policy.notify}
    if not wanted:
        return
    found = set(
        await tx.scalars(
            select(NotifyTarget.name)
            .where(NotifyTarget.name.in_(wanted))
            .order_by(NotifyTarget.name)
            .with_for_update(key_share=True, read=True),
        ),
    )
    missing = sorted(wanted - found)
    if missing:
        raise refuse(
            RefusalCode.NO_SUCH_TARGET,
            f"the policy notifies {', '.join(missing)}, which nobody has added",
            "add it with 'celadon notify target add', or correct the policy's notify; 'celadon notify target list' "
            "shows those that there are",
        )


class _Targets:
    """All targets, read once for all that a transaction tells."""

    def __init__(self, subscriptions: tuple[TargetSubscription, ...], why_not: Mapping[str, str]) -> None:
        self.subscriptions = subscriptions
        self._why_not = why_not

    def lost(self, target: str) -> str:
        """Return why nothing can be sent to a target; empty when it can."""
        return self._why_not.get(target, "the target has been removed")


async def _read_targets(tx: AsyncSession) -> _Targets:
    rows = (await tx.execute(_targets)).all()
    return _Targets(
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


async def _write(
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
            event=line.id,
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


async def _cancel_deadline(tx: AsyncSession, rollout: int) -> None:
    near = select(Notification.id).where(
        Notification.rollout == rollout,
        Notification.kind == NotificationKind.DEADLINE_NEAR.value,
    )
    await tx.execute(
        update(Delivery)
        .where(Delivery.notification.in_(near), Delivery.state == DeliveryState.WAITING)
        .values(state=DeliveryState.CANCELLED, last_error=_CANCELLED_WITH_THE_PHASE),
    )


def _facts(row: Rollout) -> RolloutFacts:
    return RolloutFacts(
        deployment=row.deployment,
        rollout=row.id,
        workflow_id=row.workflow_id,
        run_id=row.run_id,
        from_revision=row.from_revision,
        to_revision=row.to_revision,
        requested_by=row.requested_by,
        gated=row.gated,
        policy=read_policy(row.policy),
    )
