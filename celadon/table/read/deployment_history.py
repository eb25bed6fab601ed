"""The past of a deployment in one reading: its rollouts, its audit log, and who was told of what."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.errors import RefusedError
from celadon.domain.language.not_found import no_such_rollout
from celadon.table.core.models import Deployment
from celadon.table.notifications.deliveries import read_told
from celadon.table.read.history import list_rollouts, read_events, read_rollout
from celadon.table.records.history import History


async def read_history(tx: AsyncSession, deployment: str, *, rollout: int | None, limit: int) -> History:
    """Return the last ``limit`` of each, newest first; with ``rollout`` of that one alone.

    Raises:
        RefusedError: the deployment has no rollout of this number.

    """
    if rollout is None:
        rollouts = await list_rollouts(tx, deployment, limit=limit)
    else:
        record = await read_rollout(tx, deployment, rollout)
        if record is None:
            raise await rollout_not_found(tx, deployment, rollout)
        rollouts = (record,)
    return History(
        deployment=deployment,
        rollouts=rollouts,
        events=await read_events(tx, deployment, rollout=rollout, limit=limit),
        notified=await read_told(tx, deployment, rollout=rollout, limit=limit),
    )


async def rollout_not_found(tx: AsyncSession, deployment: str, rollout: int) -> RefusedError:
    """Return the refusal of a rollout that a deployment does not have; of an old one it says that it was pruned."""
    row = (
        await tx.execute(select(Deployment.pruned_to, Deployment.pruned_at).where(Deployment.name == deployment))
    ).one_or_none()
    return no_such_rollout(deployment, rollout, *(row or ()))
