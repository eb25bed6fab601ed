"""Host names of deployments' own as the table keeps them."""

from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.table.core.models import DeploymentHost

_of_deployment: Final = (
    select(DeploymentHost.host)
    .where(DeploymentHost.deployment == bindparam("deployment"))
    .order_by(DeploymentHost.host)
)


async def hosts_of(tx: AsyncSession, deployment: str) -> tuple[str, ...]:
    """Return a deployment's own host names, sorted; none when there is no such deployment."""
    return tuple(sorted(await tx.scalars(_of_deployment, {"deployment": deployment})))
