"""The spans in which a rollout was paused, as far as the table has to know them: for what it tells, and whom it shows.

The workflow lets timers stand still. A run of it that was reset has forgotten a signed pause, which counts once; it
takes up the one that these rows tell.
"""

from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Verdict
from celadon.domain.language.commands import PauseCommand
from celadon.domain.language.contracts import PAUSE
from celadon.domain.language.pause import Pause
from celadon.domain.language.states import RolloutPhase
from celadon.domain.language.steps import Message
from celadon.table.core.clock import database_now
from celadon.table.core.models import PauseRow, Rollout
from celadon.table.notifications.held import renew_deadline, tell_paused
from celadon.table.rollouts.judging import asker_of


async def keep_pause(tx: AsyncSession, rollout: Rollout, message: Message, verdict: Verdict) -> None:
    """Keep that a rollout is paused or runs on, by a message that counts. A second pause only gets another end.

    Args:
        tx: the transaction of the step, which holds the deployment's lock.
        rollout: the one that is under way.
        message: ``pause`` or ``resume``.
        verdict: who asks.

    """
    now = await database_now(tx)
    there = await _find_open(tx, rollout.id, now)
    command = message.command
    if message.verb == PAUSE:
        end = command.until if isinstance(command, PauseCommand) else None
        until = None if end is None else max(end, now)
        if there is None:
            await _begin(
                tx,
                rollout,
                Pause(
                    by=command.by, door=verdict.door or message.came_by, reason=command.reason, since=now, until=until
                ),
                message,
                verdict,
            )
        elif there.until != until:
            there.until, there.until_by = until, command.by
    elif there is not None:
        there.until = now
    await tx.flush()
    if rollout.phase is RolloutPhase.AWAITING_PROMOTION and rollout.policy.get("promotion_deadline") is not None:
        await renew_deadline(tx, rollout)


async def read_pause(tx: AsyncSession, rollout: int) -> Pause | None:
    """Return the pause of a rollout that lasts, or ``None`` when its timers run, or nobody knows who has paused it."""
    row = await _find_open(tx, rollout, await database_now(tx))
    if row is None or row.door is None:
        return None
    return Pause(
        by=row.paused_by, door=row.door, reason=row.reason, since=row.since, until=row.until, until_by=row.until_by
    )


async def _find_open(tx: AsyncSession, rollout: int, now: datetime) -> PauseRow | None:
    row: PauseRow | None = await tx.scalar(
        select(PauseRow)
        .where(PauseRow.rollout == rollout, or_(PauseRow.until.is_(None), PauseRow.until > now))
        .order_by(PauseRow.id.desc())
        .limit(1)
    )
    return row


async def _begin(tx: AsyncSession, rollout: Rollout, pause: Pause, message: Message, verdict: Verdict) -> None:
    row = PauseRow(
        rollout=rollout.id,
        since=pause.since,
        until=pause.until,
        paused_by=pause.by,
        door=pause.door,
        reason=pause.reason,
    )
    tx.add(row)
    await tx.flush()
    asker = asker_of(verdict, by=message.command.by, reason=message.command.reason)
    await tell_paused(tx, rollout, pause, row.id, asker)
