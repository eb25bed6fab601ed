"""The schedules of a deployment, as the table knows them."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.table.core.models import ScheduleRow
from celadon.table.records.schedules import ScheduleRecord


async def schedules_of(tx: AsyncSession, deployment: str) -> tuple[ScheduleRecord, ...]:
    """Return the schedules that people have made for a deployment, by name."""
    rows = await tx.scalars(select(ScheduleRow).where(ScheduleRow.deployment == deployment).order_by(ScheduleRow.name))
    return tuple(
        ScheduleRecord(
            deployment=row.deployment,
            name=row.name,
            command=row.command,
            argument=row.argument,
            at=row.at,
            cron=row.cron,
            zone=row.zone,
            author=row.author,
            issuer=row.issuer,
            verified=row.verified,
            reason=row.reason,
            created_at=row.created_at,
        )
        for row in rows
    )
