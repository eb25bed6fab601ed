"""The lock order (deployments, route_sets, routes) and the fence of a rollout's steps."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.errors import RefusalCode, refuse
from celadon.domain.names import RolloutId
from celadon.table.models import Deployment, Rollout


async def lock_deployment(tx: AsyncSession, name: str) -> Deployment:
    """Lock a deployment's row for the rest of the transaction; every change of its traffic begins here.

    Rows that merely refer to the deployment, such as acknowledgements, can still be written meanwhile.

    Raises:
        RefusedError: there is no such deployment.

    """
    row = await tx.scalar(
        select(Deployment)
        .where(Deployment.name == name)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True),
    )
    if row is None:
        raise refuse(
            RefusalCode.NO_SUCH_DEPLOYMENT,
            f"there is no deployment {name}",
            "list them with 'celadon rollout list', or create it with 'celadon deploy -f FILE'",
        )
    return row


async def own_rollout(tx: AsyncSession, deployment: str, rollout: RolloutId) -> Rollout:
    """Return the rollout of a step when it still owns its deployment; call it under the deployment's lock.

    Raises:
        RefusedError: the rollout has ended or was replaced; the step changes nothing.

    """
    row = await tx.scalar(
        select(Rollout)
        .where(Rollout.id == rollout, Rollout.deployment == deployment)
        .execution_options(populate_existing=True),
    )
    if row is None or row.outcome is not None:
        raise refuse(
            RefusalCode.NOT_OWNER,
            f"rollout {rollout} no longer owns deployment {deployment}",
            "nothing was changed; see 'celadon rollout history' for who does",
        )
    return row
