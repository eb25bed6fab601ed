"""Signed messages count once: their ids are spent in the transaction that carries them out."""

from collections.abc import Iterable

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Verdict, spent
from celadon.domain.language.attestation import START
from celadon.domain.language.errors import Refusal
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.domain.language.steps import Note
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import Rollout, SpentRequest


async def spend(
    tx: AsyncSession,
    lock: DeploymentLock,
    verdict: Verdict,
    rollout: Rollout,
    verb: str,
    run: str,
) -> Refusal | None:
    """Spend the id of a signed message; an unsigned one has none that proves anything.

    A second attempt within the same run of the workflow is the same message, since
    Temporal takes an id once in each run. Another run (after a reset, or after it continued as new) is handed the
    messages of the first one again: an abort that has taken effect goes on counting, everything else counted.

    Returns:
        A refusal when the message counted before.

    """
    if not verdict.verified:
        return None
    first = await tx.scalar(
        insert(SpentRequest)
        .values(
            deployment=lock.name,
            verb=verb,
            request_id=verdict.request_id,
            rollout=rollout.id,
            run=run,
        )
        .on_conflict_do_nothing()
        .returning(SpentRequest.rollout),
    )
    if first is not None:
        return None
    row = (
        await tx.execute(
            select(SpentRequest.rollout, SpentRequest.run).where(
                SpentRequest.deployment == lock.name,
                SpentRequest.verb == verb,
                SpentRequest.request_id == verdict.request_id,
            ),
        )
    ).one()
    if (row.rollout, row.run) == (rollout.id, run) or (row.rollout == rollout.id and _goes_back(rollout)):
        return None
    return spent(verb, verdict.request_id)


async def started_by(tx: AsyncSession, deployment: str, request_id: str) -> Rollout | None:
    """Return the rollout that a signed start has begun, or ``None`` when it has not."""
    rollout: Rollout | None = await tx.scalar(
        select(Rollout)
        .join(SpentRequest, SpentRequest.rollout == Rollout.id)
        .where(
            SpentRequest.deployment == deployment,
            SpentRequest.verb == START,
            SpentRequest.request_id == request_id,
        ),
    )
    return rollout


async def forget_start(tx: AsyncSession, deployment: str, request_id: str) -> None:
    """Let a signed start count again: its workflow was reset, and the rollout that it began is about to end."""
    await tx.execute(
        delete(SpentRequest).where(
            SpentRequest.deployment == deployment,
            SpentRequest.verb == START,
            SpentRequest.request_id == request_id,
        ),
    )


async def counted_in_other_runs(
    tx: AsyncSession,
    deployment: str,
    notes: Iterable[Note],
    run: str,
) -> frozenset[tuple[str, str]]:
    """Return verb and id of those messages that counted in another run than took them (``run``, if they do not say)."""
    asked = {
        (note.message.verb, note.message.request_id): note.message.run or run
        for note in notes
        if note.message is not None
    }
    if not asked:
        return frozenset()
    rows = await tx.execute(
        select(SpentRequest.verb, SpentRequest.request_id, SpentRequest.run).where(
            SpentRequest.deployment == deployment,
            tuple_(SpentRequest.verb, SpentRequest.request_id).in_(asked),
        ),
    )
    return frozenset((row.verb, row.request_id) for row in rows if row.run != asked[row.verb, row.request_id])


def _goes_back(rollout: Rollout) -> bool:
    """Whether an abort of the rollout has taken effect."""
    return rollout.phase is RolloutPhase.ROLLING_BACK or rollout.outcome in {
        RolloutOutcome.ABORTED,
        RolloutOutcome.ROLLED_BACK,
    }
