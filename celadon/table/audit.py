"""The append-only audit log: who, through which door, what, why, on which evidence."""

from collections.abc import Mapping

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.states import Door
from celadon.domain.steps import Step
from celadon.table.models import RolloutEvent


async def write_event(  # noqa: PLR0913 - a line of the log has these columns
    tx: AsyncSession,
    deployment: str,
    rollout: int | None,
    kind: str,
    *,
    actor: str = "",
    door: Door | None = None,
    reason: str = "",
    evidence: Mapping[str, str] | None = None,
) -> None:
    """Write one line in the transaction that did what it tells."""
    await tx.execute(
        insert(RolloutEvent).values(
            deployment=deployment,
            rollout=rollout,
            kind=kind,
            actor=actor,
            door=door,
            reason=reason,
            evidence=dict(evidence or {}),
        ),
    )


async def write_notes(tx: AsyncSession, step: Step) -> None:
    """Write what the workflow has to tell; a line that an earlier attempt wrote stays as it is."""
    rows = [
        {
            "deployment": step.deployment,
            "rollout": step.rollout,
            "seq": note.seq,
            "at": note.at,
            "kind": note.kind,
            "actor": note.by,
            "door": note.door,
            "reason": note.reason,
            "evidence": note.evidence,
        }
        for note in step.notes
    ]
    if rows:
        await tx.execute(insert(RolloutEvent).values(rows).on_conflict_do_nothing(index_elements=["rollout", "seq"]))
