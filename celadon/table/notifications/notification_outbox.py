"""Notifications are written in the transaction of the fact that they tell; deliveries are another's work."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.notification_rules import AuditLine, leaves_the_gate, may_tell, told_by
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.table.core.models import NotifyTarget, Rollout
from celadon.table.notifications.held import tell_what_holds
from celadon.table.notifications.notification_rows import Targets, cancel_planned, facts_of, read_targets, tell_intents

_CANCELLED_WITH_THE_PHASE: Final = "the rollout no longer waits for its promotion"


async def tell(tx: AsyncSession, rollout: int, lines: Sequence[AuditLine]) -> None:
    """Write what lines of the audit log, which this transaction has just written, tell to whom.

    Call it once for each line that is new: a line that an earlier attempt wrote has been told by that attempt.
    """
    if not any(may_tell(line.kind) for line in lines):
        return
    row = await tx.get_one(Rollout, rollout)
    facts = facts_of(row)
    known: Targets | None = None
    for line in lines:
        intents = told_by(line, facts)
        if not intents and not leaves_the_gate(line):
            continue
        if known is None:
            known = await read_targets(tx)
        if not known.has_any and not facts.policy.notify:
            return
        if leaves_the_gate(line):
            await cancel_planned(tx, rollout, _CANCELLED_WITH_THE_PHASE)
        await tell_intents(tx, facts, line, intents, known)
        if line.kind == "awaiting_promotion":
            await tell_what_holds(tx, row, line, known)


async def check_rules(tx: AsyncSession, policy: BlueGreenPolicy) -> None:
    """Refuse a policy that tells a target which nobody has added.

    The targets stay as they are until the transaction ends, so that none is removed in between.

    Raises:
        RefusedError: there is no such target.

    """
    wanted = {rule.target for rule in policy.notify}
    if not wanted:
        return
    existing = set(
        await tx.scalars(
            select(NotifyTarget.name)
            .where(NotifyTarget.name.in_(wanted))
            .order_by(NotifyTarget.name)
            .with_for_update(key_share=True, read=True),
        ),
    )
    missing = sorted(wanted - existing)
    if missing:
        raise refuse(
            RefusalCode.NO_SUCH_TARGET,
            f"the policy notifies {', '.join(missing)}, which nobody has added",
            "add it with 'celadon notify target add', or correct the policy's notify; 'celadon notify target list' "
            "shows those that there are",
        )
