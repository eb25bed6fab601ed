"""Signals that are owed to workflows: written with the fact that they tell, sent by the keeper."""

from typing import Final

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.table.core.models import OutboxMessage

_OWES_SIGNAL: Final = "celadon_owes_signal"


async def owe_signal(tx: AsyncSession, workflow_id: str, signal: str, payload: Record) -> None:
    """Owe a workflow a signal: the keeper sends it after the commit, and again until Temporal has taken it."""
    await tx.execute(
        insert(OutboxMessage).values(
            workflow_id=workflow_id,
            signal=signal,
            payload=payload.model_dump(mode="json"),
        ),
    )
    tx.info[_OWES_SIGNAL] = True


def owes_signal(tx: AsyncSession) -> bool:
    """Return whether :func:`owe_signal` was called in this transaction."""
    return _OWES_SIGNAL in tx.info
