"""The append-only audit log: who, through which door, what, why, on which evidence; and who is told of it."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, literal
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.notification_rules import AuditLine
from celadon.domain.language.steps import Note, Step
from celadon.table.core.author import Asker, Author
from celadon.table.core.models import RolloutEvent
from celadon.table.notifications.notification_outbox import tell
from celadon.table.rollouts.spent_requests import counted_in_other_runs

_ROWS_AT_ONCE: Final = 500
"""Postgres takes at most 65,535 parameters with one statement, and its driver half as many."""


_lines: Final = RolloutEvent.metadata.tables[RolloutEvent.__tablename__]
_one_line: Final = insert(_lines).returning(*_lines.c)
"""Of the table, not of the class: a line that is written is never changed, so no session needs to know it."""


async def write_event(  # noqa: PLR0913 - a line of the log has these columns
    tx: AsyncSession,
    deployment: str,
    rollout: int | None,
    kind: str,
    *,
    author: Asker | None = None,
    actor: str = "",
    reason: str = "",
    evidence: Mapping[str, str] | None = None,
) -> None:
    """Write one line in the transaction that did what it tells.

    Args:
        tx: the transaction.
        deployment: which one the line is about.
        rollout: which one, if it is about a rollout.
        kind: what was done.
        author: the person who wanted it, who gives the reason.
        actor: what part of Celadon did it, when no person wanted it.
        reason: why that part did it.
        evidence: on what.

    """
    who = Asker(by=actor, reason=reason) if author is None else author
    line = {
        "deployment": deployment,
        "rollout": rollout,
        "kind": kind,
        "actor": who.by,
        "issuer": who.issuer,
        "door": who.door,
        "reason": who.reason,
        "evidence": dict(evidence or {}),
        "verified": who.verified,
    }
    written = (await tx.execute(_one_line, line)).one()
    if rollout is not None:
        await tell(tx, rollout, [_line(written)])


def selected_line(kind: str, author: Author, evidence: Mapping[str, str]) -> dict[str, ColumnElement[Any]]:
    """Return the columns of a line that one statement writes for many deployments, beside whose line it is."""
    return {
        "kind": literal(kind),
        "actor": literal(author.by),
        "issuer": literal(author.issuer),
        "door": literal(author.door.value),
        "verified": literal(author.verified),
        "reason": literal(author.reason),
        "evidence": literal(dict(evidence), JSONB),
    }


async def write_notes(tx: AsyncSession, step: Step) -> None:
    """Write what the workflow has to tell; a line that an earlier attempt wrote stays as it is.

    A signed message that counted in another run of the workflow is a copy here: nobody vouches for it.
    """
    signed = [note for note in step.notes if note.verified]
    copied = await counted_in_other_runs(tx, step.deployment, signed, step.run)
    rows = [
        {
            "deployment": step.deployment,
            "rollout": step.rollout,
            "run": note.run,
            "seq": note.seq,
            "at": note.at,
            "kind": note.kind,
            "actor": note.by,
            "door": note.door,
            "reason": note.reason,
            "evidence": note.evidence,
            "verified": note.verified and _id_of(note) not in copied,
            "issuer": "" if _id_of(note) in copied else note.issuer,
        }
        for note in step.notes
    ]
    if not rows:
        return
    written: list[RolloutEvent] = []
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        # Only what is new is returned, so that what an earlier attempt wrote is not told again.
        written += await tx.scalars(
            insert(RolloutEvent)
            .values(rows[first : first + _ROWS_AT_ONCE])
            .on_conflict_do_nothing(index_elements=["rollout", "run", "seq"])
            .returning(RolloutEvent),
        )
    await tell(tx, step.rollout, [_line(row) for row in sorted(written, key=lambda row: row.seq or 0)])


def _id_of(note: Note) -> tuple[str, str] | None:
    return None if note.message is None else (note.message.verb, note.message.request_id)


def _line(row: RolloutEvent | Row[Any]) -> AuditLine:
    return AuditLine(
        id=row.id,
        kind=row.kind,
        at=row.at,
        actor=row.actor,
        issuer=row.issuer,
        door=row.door,
        verified=row.verified,
        reason=row.reason,
        evidence={name: str(value) for name, value in row.evidence.items()},
    )
