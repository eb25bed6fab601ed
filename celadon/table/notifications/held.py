"""What holds a rollout that waits, told once for each hold; and a deadline that a freeze or a pause puts off.

The table reckons the deadline as the workflow does: from the first moment that green waited, without the time in which
the rollout was frozen or paused. A planned freeze is told when it begins, for which nobody has to wake up.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.freezing import binding_freezes
from celadon.domain.decisions.notification_rules import (
    DEADLINE,
    AuditLine,
    about_freeze,
    held_by_freeze,
    held_by_pause,
    near_deadline,
)
from celadon.domain.decisions.standing_still import end_of
from celadon.domain.language.freeze import Freeze
from celadon.domain.language.pause import Pause
from celadon.domain.language.progress import Still
from celadon.domain.language.states import RolloutPhase
from celadon.table.core.author import Asker
from celadon.table.core.clock import database_now
from celadon.table.core.freeze_rows import freezes_since
from celadon.table.core.models import PauseRow, Rollout, RolloutEvent
from celadon.table.core.policies import read_policy
from celadon.table.notifications.notification_rows import (
    Targets,
    cancel_about,
    cancel_deadline,
    facts_of,
    read_targets,
    tell_intents,
)

_MOVED: Final = "the promotion deadline has moved"
_NEVER_BEGAN: Final = "the freeze was ended before it began"


async def tell_what_holds(tx: AsyncSession, rollout: Rollout, line: AuditLine, known: Targets) -> None:
    """Tell of the freezes that hold a rollout which begins to wait for its promotion, or will."""
    freezes = await freezes_since(tx, rollout.deployment, await database_now(tx))
    await _tell_freezes(tx, rollout, line, _binding(rollout, freezes), known)
    await _renew(tx, rollout, known)


async def tell_frozen(
    tx: AsyncSession, waiting: Collection[Rollout], freeze: Freeze, author: Asker, at: datetime
) -> None:
    """Tell of a freeze that was ordered, of the rollouts that wait for their promotion."""
    known = await read_targets(tx) if waiting else None
    for rollout in waiting:
        if known is not None and (known.has_any or read_policy(rollout.policy).notify):
            line = _unwritten("frozen", at, author)
            await _tell_freezes(tx, rollout, line, _binding(rollout, (freeze,)), known)
            await _renew(tx, rollout, known)


async def tell_unfrozen(tx: AsyncSession, waiting: Collection[Rollout], ended: Collection[int]) -> None:
    """Tell nothing of freezes that never begin, and reckon the deadlines of rollouts that wait anew."""
    await cancel_about(tx, [about_freeze(one) for one in ended], _NEVER_BEGAN)
    known = await read_targets(tx) if waiting else None
    for rollout in waiting:
        if known is not None:
            await _renew(tx, rollout, known)


async def tell_paused(tx: AsyncSession, rollout: Rollout, pause: Pause, number: int, author: Asker) -> None:
    """Tell that a rollout was paused."""
    line = _unwritten("paused", pause.since, author)
    facts = facts_of(rollout)
    intents = (held_by_pause(pause, number, rollout.deployment),)
    await tell_intents(tx, facts, line, intents, await read_targets(tx))


def _unwritten(kind: str, at: datetime, author: Asker) -> AuditLine:
    """Return what is told of an order as if by a line of the rollout's log."""
    return AuditLine(
        id=0,
        kind=kind,
        at=at,
        actor=author.by,
        issuer=author.issuer,
        door=author.door,
        verified=author.verified,
    )


async def renew_deadline(tx: AsyncSession, rollout: Rollout) -> None:
    """Let the notification that the deadline is near follow a deadline that has moved."""
    await _renew(tx, rollout, await read_targets(tx), always=True)


async def rollouts_that_wait(tx: AsyncSession, whose: ColumnElement[bool]) -> tuple[Rollout, ...]:
    """Return the rollouts of some deployments that wait for their promotion."""
    waits = Rollout.outcome.is_(None) & (Rollout.phase == RolloutPhase.AWAITING_PROMOTION)
    rollouts = await tx.scalars(
        select(Rollout).where(waits, whose).order_by(Rollout.id).execution_options(populate_existing=True)
    )
    return tuple(rollouts)


async def _tell_freezes(
    tx: AsyncSession, rollout: Rollout, line: AuditLine, freezes: Collection[Freeze], known: Targets
) -> None:
    now = await database_now(tx) if freezes else line.at
    intents = tuple(held_by_freeze(one, rollout.deployment, now) for one in freezes)
    if intents:
        await tell_intents(tx, facts_of(rollout), line, intents, known)


def _binding(rollout: Rollout, freezes: tuple[Freeze, ...]) -> tuple[Freeze, ...]:
    goes_back = not rollout.gated and rollout.blue_set is not None
    return binding_freezes(freezes, goes_back=goes_back)


async def _renew(tx: AsyncSession, rollout: Rollout, known: Targets, *, always: bool = False) -> None:
    """Owe anew that the deadline is near, where a freeze or a pause moves it; ``always`` where it was set anew."""
    policy = read_policy(rollout.policy)
    span = policy.promotion_deadline
    if span is None and not always:
        return
    lines = (
        await tx.execute(
            select(RolloutEvent.id, RolloutEvent.at, RolloutEvent.evidence)
            .where(RolloutEvent.rollout == rollout.id, RolloutEvent.kind == "awaiting_promotion")
            .order_by(RolloutEvent.id)
        )
    ).all()
    if not lines:
        return
    first, last = lines[0], lines[-1]
    paused = await _pauses(tx, rollout.id)
    frozen = tuple(
        Still(since=one.begins_at, until=one.ends_at) for one in await freezes_since(tx, rollout.deployment, first.at)
    )
    if not (paused or frozen or always):
        return
    await cancel_deadline(tx, rollout.id, _MOVED)
    deadline = None if span is None else end_of(first.at, span, (*paused, *frozen))
    if span is None or deadline is None:
        return
    if policy.auto_promote and policy.approvals is None and not policy.windows:
        promotes = end_of(last.at, policy.promote_after, paused)
        if promotes is not None and max(promotes, policy.promote_at or promotes) <= deadline:
            return
    evidence = {name: str(value) for name, value in last.evidence.items()}
    line = AuditLine(
        id=last.id, kind="awaiting_promotion", at=last.at, evidence=evidence | {DEADLINE: deadline.isoformat()}
    )
    await tell_intents(tx, facts_of(rollout), line, (near_deadline(deadline, span),), known)


async def _pauses(tx: AsyncSession, rollout: int) -> tuple[Still, ...]:
    rows = await tx.execute(select(PauseRow.since, PauseRow.until).where(PauseRow.rollout == rollout))
    return tuple(Still(since=row.since, until=row.until) for row in rows)
