"""Which live routers serve an epoch, and which are silent."""

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Epoch
from celadon.table.core.models import Router, RouterAck
from celadon.table.core.router_rules import is_live


class Acknowledgement(Record):
    """Live routers, divided by whether they serve an epoch of a deployment."""

    acknowledged_by: tuple[str, ...]
    silent: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether no live router is silent; so with no router at all."""
        return not self.silent


_served = (
    select(Router.node, RouterAck.epoch)
    .outerjoin(RouterAck, (RouterAck.router == Router.node) & (RouterAck.deployment == bindparam("deployment")))
    .where(is_live)
    .order_by(Router.node)
)


async def read_acknowledgement(tx: AsyncSession, deployment: str, epoch: Epoch | int) -> Acknowledgement:
    """Divide the live routers by whether they serve ``epoch`` or a later one."""
    rows = await tx.execute(_served, {"deployment": deployment})
    acknowledged: list[str] = []
    silent: list[str] = []
    for node, served in rows:
        (acknowledged if served is not None and served >= epoch else silent).append(node)
    return Acknowledgement(acknowledged_by=tuple(acknowledged), silent=tuple(silent))
