"""Which live routers serve an epoch, and which are silent."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.contracts import ROUTER_LEASE
from celadon.domain.names import Epoch
from celadon.domain.strictness import Record
from celadon.table.models import Router, RouterAck


class Acknowledgement(Record):
    """Live routers, divided by whether they serve an epoch of a deployment."""

    acknowledged_by: tuple[str, ...]
    silent: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether no live router is silent; so with no router at all."""
        return not self.silent


is_live = (
    Router.acknowledged_at.is_not(None)
    & Router.gone_at.is_(None)
    & (Router.seen_at > func.clock_timestamp() - ROUTER_LEASE)
)
"""A router is live from its first acknowledgement until it is gone or unseen for ``router_lease``."""


async def read_acknowledgement(tx: AsyncSession, deployment: str, epoch: Epoch | int) -> Acknowledgement:
    """Divide the live routers by whether they serve ``epoch`` or a later one."""
    rows = await tx.execute(
        select(Router.node, RouterAck.epoch)
        .outerjoin(RouterAck, (RouterAck.router == Router.node) & (RouterAck.deployment == deployment))
        .where(is_live)
        .order_by(Router.node),
    )
    acknowledged: list[str] = []
    silent: list[str] = []
    for node, served in rows:
        (acknowledged if served is not None and served >= epoch else silent).append(node)
    return Acknowledgement(acknowledged_by=tuple(acknowledged), silent=tuple(silent))
