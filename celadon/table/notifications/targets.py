"""Targets of notifications: added, listed and removed by an operator, disabled by an answer of the target's own."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.notification import DeliveryState, NotificationKind, TargetKind
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.targets import TargetRequest
from celadon.table.core.defaults import read_defaults
from celadon.table.core.models import Delivery, NotifyTarget, Rollout
from celadon.table.core.policies import read_policy


class NotifyTargetRecord(Record):
    """A target as the table has it; secrets are names."""

    name: str
    kind: TargetKind
    url: str | None
    url_secret: str | None
    signing_secrets: tuple[str, ...]
    every_deployment: bool
    events: tuple[NotificationKind, ...]
    added_by: str
    added_at: datetime
    disabled_at: datetime | None
    disabled_reason: str

    @classmethod
    def of(cls, row: NotifyTarget) -> Self:
        """Read one row."""
        return cls(
            name=row.name,
            kind=row.kind,
            url=row.url,
            url_secret=row.url_secret,
            signing_secrets=tuple(row.signing_secrets),
            every_deployment=row.every_deployment,
            events=tuple(NotificationKind(event) for event in row.events),
            added_by=row.added_by,
            added_at=row.added_at,
            disabled_at=row.disabled_at,
            disabled_reason=row.disabled_reason,
        )


async def add_target(tx: AsyncSession, request: TargetRequest, by: str, *, replace: bool = False) -> None:
    """Add a target; with ``replace`` put it in the place of the one of its name, which is then enabled again.

    Raises:
        RefusedError: there is one of this name already.

    """
    values = {
        "name": request.name,
        "kind": request.kind,
        "url": request.url,
        "url_secret": request.url_secret,
        "signing_secrets": list(request.signing_secrets),
        "every_deployment": request.every_deployment,
        "events": [event.value for event in request.events],
        "added_by": by,
        "disabled_at": None,
        "disabled_reason": "",
    }
    statement = insert(NotifyTarget).values(**values)
    if replace:
        await tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))
        return
    added = await tx.scalar(statement.on_conflict_do_nothing().returning(NotifyTarget.name))
    if added is None:
        raise refuse(
            RefusalCode.TARGET_EXISTS,
            f"there is a target {request.name} already",
            "choose another name, or put this one in its place with --replace",
        )


async def list_targets(tx: AsyncSession) -> tuple[NotifyTargetRecord, ...]:
    """Return all targets in order of their names."""
    return tuple(
        NotifyTargetRecord.of(row) for row in await tx.scalars(select(NotifyTarget).order_by(NotifyTarget.name))
    )


async def remove_target(tx: AsyncSession, name: str, *, force: bool = False) -> None:
    """Remove a target; what it is still owed is given up.

    Raises:
        RefusedError: there is no such target, or ``force`` is not given and unfinished rollouts name it, or the
            installation's defaults do, without which no rollout could begin that says nothing of it.

    """
    await lock_target(tx, name)
    users = await _unfinished_that_name(tx, name)
    if not force and _names(await read_defaults(tx), name):
        raise refuse(
            RefusalCode.TARGET_IN_USE,
            f"the installation's defaults notify {name}",
            "change them first ('celadon policy set --default'), or remove it all the same with --force",
        )
    if users and not force:
        raise refuse(
            RefusalCode.TARGET_IN_USE,
            f"unfinished rollouts notify {name}: {', '.join(users)}",
            "wait until they have ended, or remove it all the same with --force",
        )
    await tx.execute(
        update(Delivery)
        .where(Delivery.target == name, Delivery.state == DeliveryState.WAITING)
        .values(state=DeliveryState.DEAD, last_error="the target has been removed"),
    )
    await tx.execute(delete(NotifyTarget).where(NotifyTarget.name == name))


async def enable_target(tx: AsyncSession, name: str) -> None:
    """Send to a target again; what was given up is sent by ``celadon notify retry``.

    Raises:
        RefusedError: there is no such target.

    """
    row = await lock_target(tx, name)
    row.disabled_at, row.disabled_reason = None, ""
    await tx.flush()


async def disable_target(tx: AsyncSession, name: str, why: str) -> None:
    """Send nothing to a target any more, and give up what it is owed."""
    await tx.execute(
        update(NotifyTarget)
        .where(NotifyTarget.name == name, NotifyTarget.disabled_at.is_(None))
        .values(disabled_at=func.clock_timestamp(), disabled_reason=why),
    )
    await tx.execute(
        update(Delivery)
        .where(Delivery.target == name, Delivery.state == DeliveryState.WAITING)
        .values(state=DeliveryState.DEAD, last_error=why),
    )


async def lock_target(tx: AsyncSession, name: str) -> NotifyTarget:
    """Lock a target for the rest of the transaction.

    Raises:
        RefusedError: there is no such target.

    """
    row = await tx.scalar(
        select(NotifyTarget)
        .where(NotifyTarget.name == name)
        .with_for_update()
        .execution_options(populate_existing=True),
    )
    if row is None:
        raise refuse(
            RefusalCode.NO_SUCH_TARGET,
            f"there is no target {name}",
            "list them with 'celadon notify target list'",
        )
    return row


async def _unfinished_that_name(tx: AsyncSession, name: str) -> Sequence[str]:
    rows = await tx.execute(
        select(Rollout.deployment, Rollout.id, Rollout.policy).where(Rollout.outcome.is_(None)).order_by(Rollout.id),
    )
    return [f"{row.deployment} (rollout {row.id})" for row in rows if _names(read_policy(row.policy), name)]


def _names(policy: BlueGreenPolicy, target: str) -> bool:
    return any(rule.target == target for rule in policy.notify)
