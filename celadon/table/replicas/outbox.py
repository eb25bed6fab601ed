"""The outbox: signals that the keeper sends, until Temporal has taken them."""

from collections.abc import Collection, Sequence

from sqlalchemy import ARRAY, Text, all_, delete, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Fence
from celadon.table.core.fences import hold_fence
from celadon.table.core.models import OutboxMessage


class OwedSignal(Record):
    """A signal that Temporal has not taken yet."""

    id: int
    workflow_id: str
    signal: str
    payload: dict[str, object]


async def read_owed_signals(tx: AsyncSession, limit: int, without: Collection[str] = ()) -> Sequence[OwedSignal]:
    """Return owed signals, oldest first, but for those of the workflows ``without``."""
    query = select(OutboxMessage).order_by(OutboxMessage.id).limit(limit)
    if without:
        # One parameter, however many there are.
        query = query.where(OutboxMessage.workflow_id != all_(literal(list(without), ARRAY(Text))))
    rows = await tx.scalars(query)
    return [OwedSignal(id=row.id, workflow_id=row.workflow_id, signal=row.signal, payload=row.payload) for row in rows]


async def count_owed_signals(tx: AsyncSession) -> int:
    """Return how many signals Temporal has not taken yet."""
    return (await tx.execute(select(func.count()).select_from(OutboxMessage))).scalar_one()


async def signal_taken(tx: AsyncSession, fence: Fence, owed: OwedSignal) -> None:
    """Forget a signal that Temporal has taken, or that nobody can take any more."""
    await hold_fence(tx, fence)
    await tx.execute(delete(OutboxMessage).where(OutboxMessage.id == owed.id))
