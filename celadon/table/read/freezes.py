"""The freezes of all deployments, which belong to none of them."""

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.freeze import FreezesRead
from celadon.table.rollouts.freezes import read_freezes


async def read_freezes_of_all(tx: AsyncSession, *, before: int | None = None) -> FreezesRead:
    """Return the freezes of all deployments that hold or are to come and are older than ``before``, newest first."""
    # No deployment has an empty name. So few are possible at once that all are read.
    read = await read_freezes(tx, "")
    return read.model_copy(update={"freezes": tuple(one for one in read.freezes if before is None or one.id < before)})
