"""CeladonPanic in the audit log: that a deployment's publication began to include unhealthy replicas, and its end."""

from typing import Final

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import DeploymentName, Epoch
from celadon.table.core.models import Deployment
from celadon.table.rollouts.audit import write_event

PANIC: Final = "celadon_panic"
PANIC_OVER: Final = "celadon_panic_over"


async def tell_panic(tx: AsyncSession, deployment: DeploymentName, epoch: Epoch, *, panic: bool, gateway: str) -> bool:
    """Write down that panic began or ended with what was published at ``epoch``.

    Several gateways see the same; the first one writes it. One that lags behind writes nothing: the newer epoch has
    its own say.

    Returns:
        Whether this changed anything.

    """
    changed = await tx.scalar(
        update(Deployment)
        .where(Deployment.name == deployment, Deployment.epoch == epoch, Deployment.panicking.is_distinct_from(panic))
        .values(panicking=panic)
        .returning(Deployment.name)
        .execution_options(synchronize_session=False),
    )
    if changed is None:
        return False
    reason = (
        "too few live replicas are healthy: unhealthy ones get traffic too"
        if panic
        else "enough live replicas are healthy again"
    )
    await write_event(
        tx,
        deployment,
        None,
        PANIC if panic else PANIC_OVER,
        actor="gateway",
        reason=reason,
        evidence={"epoch": str(epoch), "gateway": gateway},
    )
    return True
