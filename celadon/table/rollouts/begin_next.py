"""How what has waited begins, and what a rollout that begins does to what waits."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Authority, Verdict
from celadon.domain.decisions.successors import already_taken, another_waits, held_by_rollback
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.next_rollout import NextRollout
from celadon.domain.language.policy import OnNewRevision
from celadon.table.core.author import Asker
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import NextRolloutRow, Rollout
from celadon.table.rollouts.next_rollouts import AskedStart, HeldError, hold, take_place_of, waiting_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A rollout that is to begin: what is asked for, and what its sender may do."""

    request: RolloutRequest
    verdict: Verdict
    row: NextRolloutRow | None = None
    """Where it waited; ``None`` when it did not wait, or when its workflow was reset."""
    next: int | None = None
    """The number under which it waited."""
    ended: int | None = None
    """The rollout of the deployment that had not ended, and ends with this begin."""


async def take_turn(
    tx: AsyncSession, lock: DeploymentLock, request: NextRollout, older: Rollout | None, authority: Authority
) -> Start:
    """Return what has waited and is to begin now, with the person and the rights as they were judged.

    Args:
        tx: the transaction of its begin.
        lock: the deployment's lock.
        request: under which number it waited.
        older: the rollout of the deployment that has not ended: its own, when its workflow was reset.
        authority: whom the installation believes.

    Raises:
        RefusedError: it waits no more, or not for its turn alone.

    """
    row: NextRolloutRow | None = await tx.scalar(
        select(NextRolloutRow).where(NextRolloutRow.id == request.next, NextRolloutRow.deployment == lock.name),
    )
    if row is not None:
        _refuse_held(row)
        return _start(AskedStart.of_stored(row.asked), authority, request.next, row)
    if older is not None and older.next == request.next and older.asked is not None:
        asked = AskedStart.of_stored(older.asked)
        older.next = None
        await tx.flush()
        return _start(asked, authority, request.next, None)
    raise RefusedError(already_taken(lock.name, request.next))


async def leave_place(tx: AsyncSession, start: Start, rollout: Rollout, asker: Asker, mode: OnNewRevision) -> None:
    """Take a rollout that begins out of its place, or settle what it does to another one that waits.

    A rollback never takes a place and is never refused for what waits; after it nothing starts by itself. Nor is the
    rollout of a workflow refused that was reset: what waited for its earlier rollout, which ends with this begin, is
    held.

    Raises:
        RefusedError: another one waits, and the policy of this one lets it take no place.

    """
    if start.row is not None:
        # It may have been held just now, because the rollout before it ended only by this begin.
        _refuse_held(start.row)
        await tx.delete(start.row)
        await tx.flush()
        return
    row = await waiting_row(tx, rollout.deployment)
    if row is None:
        return
    if start.request.rollback:
        await hold(tx, row, rollout.id, held_by_rollback(rollout.deployment))
    elif mode is not OnNewRevision.REJECT:
        await take_place_of(tx, row, rollout, asker)
    elif start.ended is None or row.after != start.ended:
        raise RefusedError(another_waits(rollout.deployment, row.id, row.requested_by))


def _refuse_held(row: NextRolloutRow) -> None:
    if row.held:
        raise HeldError(row.deployment, row.held)


def _start(asked: AskedStart, authority: Authority, number: int, row: NextRolloutRow | None) -> Start:
    verdict = Verdict(
        verified=asked.verified,
        door=asked.door,
        issuer=asked.issuer,
        rights=frozenset(asked.rights) if asked.verified else authority.unsigned_rights,
    )
    return Start(request=asked.request, verdict=verdict, row=row, next=number)
