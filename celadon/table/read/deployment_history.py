"""The rollouts of a deployment's past."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.errors import RefusedError
from celadon.domain.language.not_found import no_such_rollout
from celadon.table.core.models import Deployment
from celadon.table.read.history import list_rollouts, read_rollout
from celadon.table.records.rollouts import RolloutRecord


async def read_past_rollouts(
    tx: AsyncSession, deployment: str, *, rollout: int | None, before: int | None = None, limit: int
) -> tuple[RolloutRecord, ...]:
    """Return the last rollouts of a deployment that are older than ``before``, newest first, or ``rollout`` alone.

    Raises:
        RefusedError: the deployment has no rollout of this number.

    """
    if rollout is None:
        return await list_rollouts(tx, deployment, before=before, limit=limit)
    record = await read_rollout(tx, deployment, rollout)
    if record is None:
        raise await rollout_not_found(tx, deployment, rollout)
    return (record,)


async def rollout_not_found(tx: AsyncSession, deployment: str, rollout: int) -> RefusedError:
    """Return the refusal of a rollout that a deployment does not have; of an old one it says that it was pruned."""
    row = (
        await tx.execute(select(Deployment.pruned_to, Deployment.pruned_at).where(Deployment.name == deployment))
    ).one_or_none()
    return no_such_rollout(deployment, rollout, *(row or ()))
