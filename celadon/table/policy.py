"""Reading a rollout's resolved policy."""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.names import RolloutId
from celadon.domain.policy import BlueGreenPolicy
from celadon.table.models import Rollout


async def read_ack_timeout(tx: AsyncSession, rollout: RolloutId) -> timedelta:
    """Return the ``router_ack_timeout`` of a rollout."""
    policy = await tx.scalar(select(Rollout.policy).where(Rollout.id == rollout))
    return BlueGreenPolicy.model_validate(policy, strict=False).router_ack_timeout
