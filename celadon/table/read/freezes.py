"""The freezes of all deployments, which belong to none of them."""

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.freeze import FreezesRead
from celadon.table.rollouts.freezes import read_freezes


async def read_freezes_of_all(tx: AsyncSession) -> FreezesRead:
    """Return the freezes of all deployments that hold or are to come."""
    # No deployment has an empty name.
    return await read_freezes(tx, "")
