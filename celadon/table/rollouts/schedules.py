"""Schedules: made and deleted under their deployment's lock, and for whom one fires."""

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.firing import PlannedAsk
from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import SCHEDULE_CATCH_UP, SCHEDULE_ID_PREFIX
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.identity import KEY_ISSUER, TOKEN_ISSUER
from celadon.domain.language.limits import echo
from celadon.domain.language.moments import utc
from celadon.domain.language.permissions import Role
from celadon.domain.language.scheduling import MOST_SCHEDULES
from celadon.table.access.tokens import rights_of_name
from celadon.table.core.author import Author
from celadon.table.core.clock import database_now
from celadon.table.core.locks import DeploymentLock, lock_deployment
from celadon.table.core.models import ScheduleKey, ScheduleRow
from celadon.table.records.schedules import NewSchedule
from celadon.table.rollouts.audit import write_event

_KEYS_KEPT: Final = timedelta(days=90)
"""After its last use: as long as a rollout may still have to show what a worker has signed."""


class ScheduleAuthor(Record):
    """For whom a schedule fires, with what the author may do now."""

    name: str
    issuer: str
    verified: bool
    """Whether a door vouched for the author; else the firing is judged as an unsigned message is."""
    roles: tuple[Role, ...]
    scope: dict[str, str]
    planned: PlannedAsk


async def create_schedule(
    tx: AsyncSession,
    wanted: NewSchedule,
    author: Author,
    *,
    roles: Collection[Role],
    scope: dict[str, str],
    told: Author,
) -> bool:
    """Keep a schedule; false when there is the same one already. One of its name that has fired gives way to it.

    Args:
        tx: the transaction.
        wanted: what it is to be.
        author: for whom it fires.
        roles: the author's roles now.
        scope: the labels that the author is scoped to.
        told: who makes it, for the audit log.

    Raises:
        RefusedError: there is no such deployment, it is being destroyed, it has another schedule of this name, or it
            has too many.

    """
    locked = await lock_deployment(tx, wanted.deployment)
    if locked.row.lifecycle.is_deleted:
        raise refuse(
            RefusalCode.DEPLOYMENT_DELETED,
            f"deployment {wanted.deployment} is {locked.row.lifecycle.value}",
            "start it anew first",
        )
    said = {**wanted.model_dump(), "author": author.by, "issuer": author.issuer, "verified": author.verified}
    known = await tx.get(ScheduleRow, (wanted.deployment, wanted.name))
    fires_no_more = ScheduleRow.at < await database_now(tx) - SCHEDULE_CATCH_UP
    if known is not None and await tx.scalar(select(fires_no_more).where(*_named(wanted.deployment, wanted.name))):
        await tx.delete(known)
        await tx.flush()
    elif known is not None:
        if any(getattr(known, key) != value for key, value in said.items()):
            raise refuse(
                RefusalCode.SCHEDULE_EXISTS,
                f"{wanted.deployment} has another schedule {wanted.name}, by {known.author}",
                f"choose another name, or delete it first: celadon schedule delete {wanted.deployment} {wanted.name}",
            )
        return False
    count = await tx.scalar(
        select(func.count())
        .select_from(ScheduleRow)
        .where(ScheduleRow.deployment == wanted.deployment, fires_no_more.is_not(True))
    )
    if (count or 0) >= MOST_SCHEDULES:
        raise refuse(
            RefusalCode.TOO_MANY_SCHEDULES,
            f"{wanted.deployment} has {count} schedules that are to fire, and may have {MOST_SCHEDULES}",
            f"delete one that is not needed: celadon schedule list {wanted.deployment}",
        )
    tx.add(ScheduleRow(**said, roles=[role.value for role in roles], scope=scope, reason=author.reason))
    await tx.flush()
    when = utc(wanted.at) if wanted.at is not None else f"{wanted.cron} ({wanted.zone})"
    evidence = {"schedule": wanted.name, "command": wanted.command, "when": when}
    await write_event(tx, wanted.deployment, None, "schedule_created", author=told, evidence=evidence)
    return True


async def forget_fired(tx: AsyncSession, deployment: str) -> tuple[str, ...]:
    """Forget schedules that have fired once, but for the last ones, and return their names.

    How many a deployment has had does not grow with each new one; the others go by their age.

    Raises:
        RefusedError: there is no such deployment.

    """
    await lock_deployment(tx, deployment)
    over = (
        select(ScheduleRow.name)
        .where(ScheduleRow.deployment == deployment, ScheduleRow.at < await database_now(tx) - SCHEDULE_CATCH_UP)
        .order_by(ScheduleRow.at.desc(), ScheduleRow.name)
        .offset(MOST_SCHEDULES)
    )
    names = await tx.scalars(
        delete(ScheduleRow)
        .where(ScheduleRow.deployment == deployment, ScheduleRow.name.in_(over))
        .returning(ScheduleRow.name)
    )
    return tuple(sorted(names))


async def delete_schedule(tx: AsyncSession, deployment: str, name: str, author: Author) -> bool:
    """Forget a schedule; false when there is no row of it.

    Raises:
        RefusedError: there is no such deployment.

    """
    await lock_deployment(tx, deployment)
    gone = await tx.scalar(delete(ScheduleRow).where(*_named(deployment, name)).returning(ScheduleRow.name))
    if gone is None:
        return False
    await write_event(tx, deployment, None, "schedule_deleted", author=author, evidence={"schedule": name})
    return True


async def forget_schedules(tx: AsyncSession, lock: DeploymentLock) -> tuple[str, ...]:
    """Forget all schedules of a deployment that is deleted, and return their names: from now on none fires."""
    names = await tx.scalars(delete(ScheduleRow).where(ScheduleRow.deployment == lock.name).returning(ScheduleRow.name))
    return tuple(sorted(names))


async def author_of_firing(tx: AsyncSession, deployment: str, schedule: str) -> ScheduleAuthor | None:
    """Return for whom a schedule fires; ``None`` for one that was made in Temporal.

    Args:
        tx: the transaction.
        deployment: whose command it gives.
        schedule: its id in Temporal; empty when no schedule asks.

    Raises:
        RefusedError: its id is of those that Celadon gives, and no row of the deployment is behind it; or its author's
            token was revoked or has expired.

    """
    if not schedule.startswith(SCHEDULE_ID_PREFIX):
        return None
    owner, _, name = schedule.removeprefix(SCHEDULE_ID_PREFIX).partition(".")
    row = await tx.get(ScheduleRow, (owner, name)) if owner == deployment else None
    if row is None:
        raise refuse(
            RefusalCode.NO_SUCH_SCHEDULE,
            f"nobody has made the schedule {echo(schedule)} of {deployment}, or it was deleted",
            f"delete it in Temporal too: temporal schedule delete -s {echo(schedule)}",
        )
    roles, scope = await _rights_now(tx, row)
    return ScheduleAuthor(
        name=row.author,
        issuer=row.issuer,
        verified=row.verified,
        roles=roles,
        scope=scope,
        planned=PlannedAsk(command=row.command, argument=row.argument, at=row.at, cron=row.cron, zone=row.zone),
    )


def _named(deployment: str, name: str) -> tuple[ColumnElement[bool], ...]:
    return (ScheduleRow.deployment == deployment, ScheduleRow.name == name)


async def _rights_now(tx: AsyncSession, row: ScheduleRow) -> tuple[tuple[Role, ...], dict[str, str]]:
    """Return the author's roles and scope: a token's as it is now, of anybody else's as when the schedule was made."""
    if not row.verified:
        return (), {}
    if row.issuer == KEY_ISSUER:
        return (Role.ADMIN,), {}
    if row.issuer != TOKEN_ISSUER:
        known = {role.value for role in Role}
        roles = tuple(Role(value) for value in row.roles if value in known)
        return roles, {name: str(value) for name, value in row.scope.items()}
    now = await rights_of_name(tx, row.author)
    if now is None:
        raise refuse(
            RefusalCode.FORBIDDEN,
            f"the token of {row.author}, who made the schedule, was revoked or has expired",
            f"let somebody else make it: celadon schedule delete {row.deployment} {row.name}, then create",
        )
    return now


async def keep_key(tx: AsyncSession, identity: str, public_key: str) -> None:
    """Let rollouts believe what the worker with this key signs for authors of schedules."""
    await tx.execute(delete(ScheduleKey).where(ScheduleKey.used_at < func.now() - _KEYS_KEPT))
    await tx.execute(
        insert(ScheduleKey)
        .values(id=identity, public_key=public_key)
        .on_conflict_do_update(index_elements=["id"], set_={"used_at": func.now()})
    )


async def public_keys(tx: AsyncSession, identities: Collection[str]) -> dict[str, str]:
    """Return the public keys of workers that gave commands for authors of schedules, by their ids."""
    rows = await tx.execute(select(ScheduleKey.id, ScheduleKey.public_key).where(ScheduleKey.id.in_(identities)))
    return {row.id: row.public_key for row in rows}
