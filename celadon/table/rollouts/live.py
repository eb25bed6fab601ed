"""Which revision of a deployment is live."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import RevisionNumber
from celadon.table.core.models import Deployment, RouteSet


async def revision_of(tx: AsyncSession, live_set: int | None) -> RevisionNumber | None:
    """Return the revision of the set that is live; ``None`` when none is."""
    if live_set is None:
        return None
    revision = await tx.scalar(select(RouteSet.revision).where(RouteSet.id == live_set))
    return None if revision is None else RevisionNumber(revision)


async def live_revision_of(tx: AsyncSession, deployment: str) -> RevisionNumber | None:
    """Return the revision of a deployment that is live; ``None`` when none is, or when there is no such deployment."""
    return await revision_of(tx, await tx.scalar(select(Deployment.live_set).where(Deployment.name == deployment)))
