"""The outbox: signals that the keeper sends, until Temporal has taken them."""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import ARRAY, Text, all_, bindparam, delete, func, select
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


_all = select(func.count()).select_from(OutboxMessage)
_owed: Final = (
    select(
        OutboxMessage.id,
        OutboxMessage.workflow_id,
        OutboxMessage.signal,
        OutboxMessage.payload,
    )
    # One parameter, however many there are.
    .where(OutboxMessage.workflow_id != all_(bindparam("without", type_=ARRAY(Text))))
    .order_by(OutboxMessage.id)
    .limit(bindparam("most"))
)
_taken: Final = delete(OutboxMessage).where(OutboxMessage.id == bindparam("owed"))


async def read_owed_signals(tx: AsyncSession, limit: int, without: Collection[str] = ()) -> Sequence[OwedSignal]:
    """Return owed signals, oldest first, but for those of the workflows ``without``."""
    rows = await tx.execute(_owed, {"without": list(without), "most": limit})
    return [OwedSignal(id=row.id, workflow_id=row.workflow_id, signal=row.signal, payload=row.payload) for row in rows]


async def count_owed_signals(tx: AsyncSession) -> int:
    """Return how many signals Temporal has not taken yet."""
    return (await tx.execute(_all)).scalar_one()


async def signal_taken(tx: AsyncSession, fence: Fence, owed: OwedSignal) -> None:
    """Forget a signal that Temporal has taken, or that nobody can take any more."""
    await hold_fence(tx, fence)
    await tx.execute(_taken, {"owed": owed.id})
