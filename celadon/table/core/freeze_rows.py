"""Rows of freezes, for who compares them with a moment and for who shows them."""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from celadon.domain.language.freeze import Freeze
from celadon.table.core.models import FreezeRow

_MOST_READ: Final = 100

ever_holds: Final = or_(FreezeRow.ends_at.is_(None), FreezeRow.ends_at > FreezeRow.begins_at)
"""False for one that was ended before it began."""


def of_deployment_or_all(deployment: ColumnElement[str] | InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Return whether a freeze is one of the deployment or of all."""
    return or_(FreezeRow.deployment == deployment, FreezeRow.deployment.is_(None))


def freeze_of(row: FreezeRow) -> Freeze:
    """Return a freeze as everybody is shown it."""
    return Freeze(
        id=row.id,
        everywhere=row.deployment is None,
        begins_at=row.begins_at,
        ends_at=row.ends_at,
        rollbacks=row.rollbacks,
        by=row.actor,
        reason=row.reason,
    )


async def freezes_since(tx: AsyncSession, deployment: str, since: datetime) -> tuple[Freeze, ...]:
    """Return the freezes of a deployment, and of all, that hold, are to come, or have ended after ``since``."""
    rows = await tx.scalars(
        select(FreezeRow)
        .where(
            of_deployment_or_all(literal(deployment)),
            ever_holds,
            or_(FreezeRow.ends_at.is_(None), FreezeRow.ends_at > func.least(since, func.clock_timestamp())),
        )
        .order_by(FreezeRow.id.desc())
        .limit(_MOST_READ)
        .execution_options(populate_existing=True)
    )
    return tuple(freeze_of(row) for row in rows)
