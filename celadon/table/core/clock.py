"""The database's clock, by which the table's moments are compared."""

from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

_NOW: Final = select(func.clock_timestamp())


async def database_now(tx: AsyncSession) -> datetime:
    """Return the present moment, not the one at which the transaction began."""
    now: datetime = (await tx.execute(_NOW)).scalar_one()
    return now
