"""The past of a deployment in one reading: its rollouts, its audit log, and who was told of what."""

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.errors import RefusalCode, refuse
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
            raise refuse(
                RefusalCode.NO_SUCH_ROLLOUT,
                f"{deployment} has no rollout {rollout}",
                f"list them with 'celadon rollout history {deployment}'",
            )
        rollouts = (record,)
    return History(
        deployment=deployment,
        rollouts=rollouts,
        events=await read_events(tx, deployment, rollout=rollout, limit=limit),
        notified=await read_told(tx, deployment, rollout=rollout, limit=limit),
    )
