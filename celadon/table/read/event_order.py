"""Reading the audit log line after line, so that a line which is committed late is never skipped.

A line gets its number before its transaction commits, so a lower number may be seen after a higher one. Lines are
therefore read in the order of the transactions that wrote them, and only those below ``pg_snapshot_xmin``: every
transaction below it has ended, so no line can still come before one that was read. (Postgres, "Transaction ID and
Snapshot Information Functions".) A line's number names its place in this order, so it is all that a reader must keep.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.table.core.labels import within
from celadon.table.core.models import Deployment, RolloutEvent
from celadon.table.read.history import audit_event_of
from celadon.table.read.listing import QueryT, paged
from celadon.table.records.events import DeploymentEvent


class Place(NamedTuple):
    """A line's place in the order in which lines are read."""

    transaction: int
    line: int


class SettledLines(NamedTuple):
    """Lines that come next."""

    events: tuple[DeploymentEvent, ...]
    """In the order of reading, or the newest first where those were asked for."""
    places: tuple[Place, ...]
    """Of each of them."""
    last: Place
    """The place to read on from."""
    held_back: bool
    """Whether there are lines that are not handed out yet: a transaction that began before theirs is still open."""


BEGINNING = Place(-1, 0)

_READS_OF_NEWEST: Final = 6
_HELD_BACK_SECONDS: Final = 0.1

_order = (RolloutEvent.transaction_id, RolloutEvent.id)


def _horizon() -> ColumnElement[int]:
    """Return the transaction below which every one has ended, in the snapshot of the statement."""
    return _number(func.pg_snapshot_xmin(func.pg_current_snapshot()))


def _number(transaction: ColumnElement[object]) -> ColumnElement[int]:
    return cast(cast(transaction, Text), BigInteger)


async def newest_place(tx: AsyncSession) -> Place:
    """Return the place of the last line that can be read now."""
    row = (
        await tx.execute(
            select(*_order)
            .where(RolloutEvent.transaction_id < _horizon())
            .order_by(RolloutEvent.transaction_id.desc(), RolloutEvent.id.desc())
            .limit(1),
        )
    ).one_or_none()
    return BEGINNING if row is None else Place(*row)


async def place_of(tx: AsyncSession, line: int) -> Place:
    """Return the place of a line by its number; of one that cannot be read yet, that of the next lower number."""
    row = (
        await tx.execute(
            select(*_order)
            .where(RolloutEvent.id <= line, RolloutEvent.transaction_id < _horizon())
            .order_by(RolloutEvent.id.desc())
            .limit(1),
        )
    ).one_or_none()
    return BEGINNING if row is None else Place(*row)


async def lines_after(
    tx: AsyncSession,
    scope: Mapping[str, str],
    deployment: str | None,
    place: Place,
    limit: int,
) -> SettledLines:
    """Return the next lines, at most ``limit``, of one deployment or of all that bear the labels of ``scope``."""
    query = select(RolloutEvent, (RolloutEvent.transaction_id < _horizon()).label("settled"))
    page = paged(_of(query, scope, deployment), *_order, past=tuple(place), limit=limit)
    rows = (await tx.execute(page)).all()
    settled = [row.RolloutEvent for row in rows if row.settled]
    places = tuple(Place(row.transaction_id, row.id) for row in settled)
    return SettledLines(
        events=tuple(event_of(row) for row in settled),
        places=places,
        last=places[-1] if places else place,
        held_back=len(settled) < len(rows),
    )


async def events_after(
    tx: AsyncSession,
    scope: Mapping[str, str],
    deployment: str | None,
    after: int,
    limit: int,
) -> tuple[DeploymentEvent, ...]:
    """Return the lines that come after the line ``after``, of one deployment or of all; 0 is before the first."""
    return (await lines_after(tx, scope, deployment, await place_of(tx, after), limit)).events


async def newest_events(
    tx: AsyncSession,
    scope: Mapping[str, str],
    deployment: str | None,
    before: int | None,
    limit: int,
) -> SettledLines:
    """Return lines newest first, of one deployment or of all: the newest, or those older than the line ``before``."""
    query = _of(select(RolloutEvent), scope, deployment)
    place = None if before is None else tuple(await place_of(tx, before))
    settled = query.where(RolloutEvent.transaction_id < _horizon())
    rows = (await tx.scalars(paged(settled, *_order, past=place, limit=limit, newest_first=True))).all()
    places = tuple(Place(row.transaction_id, row.id) for row in rows)
    unsettled = query.where(RolloutEvent.transaction_id >= _horizon()).limit(1)
    return SettledLines(
        events=tuple(event_of(row) for row in rows),
        places=places,
        last=places[0] if places else BEGINNING,
        held_back=(await tx.scalar(unsettled)) is not None,
    )


async def settled_soon(read: Callable[[], Awaitable[SettledLines]]) -> tuple[DeploymentEvent, ...]:
    """Read the last lines, a few times while some are held back: mostly another transaction just ends.

    Where one stays open for long, what it holds back comes later; it is never skipped.
    """
    for _ in range(_READS_OF_NEWEST):
        page = await read()
        if not page.held_back:
            break
        await asyncio.sleep(_HELD_BACK_SECONDS)
    return page.events


def _of(query: QueryT, scope: Mapping[str, str], deployment: str | None) -> QueryT:
    """Return the lines of one deployment, or of all that bear the labels of ``scope``."""
    if scope:
        query = query.join(Deployment, Deployment.name == RolloutEvent.deployment).where(within(scope))
    return query if deployment is None else query.where(RolloutEvent.deployment == deployment)


def event_of(row: RolloutEvent) -> DeploymentEvent:
    """Return a row as a plain value, with the deployment that it is of."""
    return DeploymentEvent(deployment=row.deployment, **dict(audit_event_of(row)))
