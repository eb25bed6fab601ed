"""Pruning what belongs to no deployment, and whose turn it is to prune."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, exists, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.notification import DeliveryState
from celadon.domain.language.policy import SHORTEST_RETENTION, resolve_policy
from celadon.domain.language.states import RouteSetState
from celadon.table.core.clock import database_now
from celadon.table.core.defaults import read_defaults
from celadon.table.core.models import (
    ApiRequest,
    ApiToken,
    Base,
    ConsoleLogin,
    ConsoleSession,
    DefaultChange,
    Delivery,
    FreezeRow,
    MemberLoad,
    Notification,
    Pruning,
    Route,
    Router,
    RouterEvent,
    RouterLoad,
    RouteSet,
)
from celadon.table.retention.deployments import Tally, allow_pruning, count, delete_notifications, deleted

_EVERY: Final = timedelta(hours=1)
"""How often keepers prune, all of them together."""

_EXPIRED: Final = timedelta(days=1)
"""How long sessions, logins and answered requests are remembered once they count no more."""

_ROWS_AT_ONCE: Final = 200


async def claim_turn(tx: AsyncSession) -> bool:
    """Take the turn to prune; false when a keeper has pruned within the last hour."""
    claimed = await tx.scalar(
        insert(Pruning)
        .values(id=0, began_at=func.clock_timestamp())
        .on_conflict_do_update(
            index_elements=["id"],
            set_={"began_at": func.clock_timestamp()},
            where=or_(Pruning.began_at.is_(None), Pruning.began_at < func.clock_timestamp() - _EVERY),
        )
        .returning(Pruning.id),
    )
    return claimed is not None


INSTALLATION_TABLES: Final = (
    Notification.__tablename__,
    RouterLoad.__tablename__,
    MemberLoad.__tablename__,
    Router.__tablename__,
    RouterEvent.__tablename__,
    FreezeRow.__tablename__,
    DefaultChange.__tablename__,
    ConsoleSession.__tablename__,
    ConsoleLogin.__tablename__,
    ApiToken.__tablename__,
    ApiRequest.__tablename__,
)
"""What :func:`prune_some_of` deletes from; a table stands behind those that refer to it."""


async def prune_some_of(tx: AsyncSession, table_name: str, age: timedelta | None = None) -> Tally:
    """Delete some of what one of :data:`INSTALLATION_TABLES` has had for long enough; nothing once nothing is left.

    Args:
        tx: the transaction.
        table_name: the table.
        age: in place of ``event_retention`` of the installation's defaults.

    """
    await allow_pruning(tx)
    if table_name == Notification.__tablename__:
        samples = _samples(await _before(tx, age)).limit(_ROWS_AT_ONCE)
        return await delete_notifications(tx, list(await tx.scalars(samples)))
    rules = await _rules(tx, age)
    table, has_had_its_time = next(rule for rule in rules if rule[0].__tablename__ == table_name)
    row: ColumnElement[Any] = literal_column(f"{table_name}.ctid")
    some = select(row).select_from(table).where(has_had_its_time).limit(_ROWS_AT_ONCE)
    locked = some.with_for_update(of=table, skip_locked=True)
    return Tally({table_name: await deleted(tx, delete(table).where(row.in_(locked)))})


async def prune_some_of_installation(tx: AsyncSession, age: timedelta | None = None) -> Tally:
    """Delete some of what the installation has had for long enough; return what went: nothing once nothing is left.

    Args:
        tx: the transaction.
        age: in place of ``event_retention`` of the installation's defaults.

    """
    for table_name in INSTALLATION_TABLES:
        went = await prune_some_of(tx, table_name, age)
        if went.total():
            return went
    return Tally()


async def count_doomed_of_installation(tx: AsyncSession, age: timedelta | None = None) -> Tally:
    """Count what :func:`prune_some_of_installation` would delete, until nothing is left; changes and locks nothing."""
    samples = _samples(await _before(tx, age))
    deliveries = select(Delivery.id).where(Delivery.notification.in_(samples))
    tally = Tally(
        {Notification.__tablename__: await count(tx, samples), Delivery.__tablename__: await count(tx, deliveries)}
    )
    for table, has_had_its_time in await _rules(tx, age):
        one: ColumnElement[Any] = literal_column("1")
        tally[table.__tablename__] += await count(tx, select(one).select_from(table).where(has_had_its_time))
    return tally


async def _before(tx: AsyncSession, age: timedelta | None) -> datetime:
    kept = resolve_policy(await read_defaults(tx)).event_retention if age is None else age
    return await database_now(tx) - kept


def _samples(before: datetime) -> Select[Any]:
    """Return old notifications of no rollout: samples that somebody sent to see whether a target hears."""
    waits = exists().where(Delivery.notification == Notification.id, Delivery.state == DeliveryState.WAITING)
    return select(Notification.id).where(Notification.rollout.is_(None), Notification.at < before, ~waits)


async def _rules(tx: AsyncSession, age: timedelta | None) -> tuple[tuple[type[Base], ColumnElement[bool]], ...]:
    """Return when rows of each table have had their time; a table stands behind those that refer to it."""
    now, before = await database_now(tx), await _before(tx, age)
    is_gone = exists().where(
        RouteSet.id == RouterLoad.route_set,
        RouteSet.state == RouteSetState.GONE,
        RouteSet.gone_at < now - SHORTEST_RETENTION,
    )
    has_ended = exists().where(Route.id == MemberLoad.route, Route.ended_at < now - SHORTEST_RETENTION)
    is_unseen = func.coalesce(Router.seen_at, Router.gone_at, Router.enrolled_at) < before
    cannot_return = or_(Router.enrolled_at.is_(None), Router.expires_at < now)
    # ``least`` passes over what is null.
    is_void = func.least(ApiToken.expires_at, ApiToken.revoked_at) < before
    return (
        (RouterLoad, is_gone),
        (MemberLoad, has_ended),
        (Router, is_unseen & cannot_return),
        (RouterEvent, RouterEvent.at < before),
        (FreezeRow, FreezeRow.ends_at < before),
        (DefaultChange, DefaultChange.at < before),
        (ConsoleSession, ConsoleSession.expires_at < now - _EXPIRED),
        (ConsoleLogin, ConsoleLogin.code_expires_at < now - _EXPIRED),
        (ApiToken, is_void & ~exists().where(ConsoleSession.token == ApiToken.id)),
        (ApiRequest, ApiRequest.created_at < now - _EXPIRED),
    )
