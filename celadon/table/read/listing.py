"""Pages of lists: one way to cut a page from a query, whatever is listed, and the list of rollouts."""

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from celadon.table.core.labels import within
from celadon.table.core.models import Deployment, Rollout
from celadon.table.core.paging import made_of
from celadon.table.read.history import record_of
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord

QueryT = TypeVar("QueryT", bound="Select[*tuple[Any, ...]]")


def paged(
    query: QueryT,
    *order: InstrumentedAttribute[Any],
    past: object | None = None,
    limit: int,
    newest_first: bool = False,
) -> QueryT:
    """Return a page of a query.

    Args:
        query: all that is listed.
        order: columns that no two rows share; the list goes by them.
        past: only what comes after this place: a value of each column, a query of such a row, or the value of the only
            column; the beginning when not given.
        limit: how many rows at most.
        newest_first: whether the list goes from the highest value down.

    """
    if past is not None:
        here: Any = order[0] if len(order) == 1 else tuple_(*order)
        place: Any = tuple_(*past) if isinstance(past, tuple) else past
        query = query.where(here < place if newest_first else here > place)
    return query.order_by(*(one.desc() if newest_first else one for one in order)).limit(limit)


async def page_of_rollouts(
    tx: AsyncSession,
    scope: Mapping[str, str],
    wanted: RolloutFilter,
    *,
    before: int | None,
    limit: int,
) -> tuple[RolloutRecord, ...]:
    """Return rollouts newest first, at most ``limit``, older than the rollout ``before``."""
    query = select(Rollout).join(Deployment, Deployment.name == Rollout.deployment).where(within(scope))
    if wanted.deployments is not None:
        query = query.where(Rollout.deployment.in_(wanted.deployments))
    if wanted.phase is not None:
        query = query.where(Rollout.phase == wanted.phase)
    if wanted.outcome is not None:
        query = query.where(Rollout.outcome == wanted.outcome)
    if wanted.unfinished is not None:
        query = query.where(Rollout.outcome.is_(None) if wanted.unfinished else Rollout.outcome.is_not(None))
    page = paged(query, Rollout.id, past=before, limit=limit, newest_first=True)
    return await made_of((await tx.scalars(page)).all(), record_of)


async def rollout_within(tx: AsyncSession, scope: Mapping[str, str], rollout: int) -> RolloutRecord | None:
    """Return one rollout of a deployment that bears the labels of ``scope``."""
    row = await tx.scalar(
        select(Rollout)
        .join(Deployment, Deployment.name == Rollout.deployment)
        .where(Rollout.id == rollout, within(scope)),
    )
    return None if row is None else record_of(row)
