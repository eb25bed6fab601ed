"""The approvals of a rollout that stand, for who counts them and for who shows them."""

from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.approval import Approval
from celadon.table.core.models import ApprovalRow, Rollout

_standing: Final = (
    select(ApprovalRow)
    .where(ApprovalRow.rollout == bindparam("rollout"), ApprovalRow.decision == bindparam("decision"))
    .order_by(ApprovalRow.at, ApprovalRow.issuer, ApprovalRow.subject)
    .execution_options(populate_existing=True)
)


async def read_approvals(tx: AsyncSession, rollout: Rollout) -> tuple[Approval, ...]:
    """Return the approvals of the decision that stands, oldest first; without a query where none is asked for."""
    if rollout.policy.get("approvals") is None:
        return ()
    rows = await tx.scalars(_standing, {"rollout": rollout.id, "decision": rollout.spent_decisions})
    return tuple(Approval(by=row.subject, issuer=row.issuer, door=row.door, at=row.at, force=row.force) for row in rows)
