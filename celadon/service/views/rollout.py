"""One rollout: how it stands or ended, and its events."""

# ruff: noqa: PLC0415 - looking needs no database

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, assert_never

from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.moments import span, utc
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.service.command import Tone
from celadon.service.principal import Principal
from celadon.service.rollout_words import WAY, in_words, move_name
from celadon.service.views.events import EventRow, event_rows
from celadon.service.views.phrases import Phrase, Shown
from celadon.service.views.sets import without_output
from celadon.table.records.events import AuditEvent
from celadon.table.records.rollouts import RolloutRecord

if TYPE_CHECKING:
    from celadon.service.service import Service


class Step(Shown):
    """One phase on a rollout's way."""

    name: str
    state: str
    """``passed``, ``present`` or ``ahead``."""


class RolloutSummary(Shown):
    """A rollout in a line or two."""

    number: int
    deployment: str
    move: str
    requested_by: str
    reason: str
    phase: Phrase
    """Where it stands while it is under way, and how it ended later."""
    is_under_way: bool
    since: datetime
    """When the present phase began."""
    started_at: datetime
    took: str
    """The span from its begin to its end, or until now."""
    switched_at: datetime | None
    switch_epoch: Epoch | None
    ended: str
    """When it ended, in UTC; empty before that."""
    outcome_reason: str
    requests_cut: int
    cut: Phrase | None
    """That requests still ran when their replica was stopped; ``None`` when none did."""
    way: tuple[Step, ...]
    """The phases of a rollout that goes well, or the only one of a way back."""


class RolloutEventRow(EventRow):
    """One event of a rollout."""

    after: str
    """The span since the rollout's begin."""


def rollout_summary(
    record: RolloutRecord,
    now: datetime,
    *,
    phase: RolloutPhase | None = None,
    since: datetime | None = None,
    errors: Collection[str] = (),
) -> RolloutSummary:
    """Return a rollout in short.

    Args:
        record: the rollout, as the table has it.
        now: the moment to which spans are counted.
        phase: the workflow's, where it knows more than the table.
        since: when that phase began.
        errors: what replicas have failed with that are shown beside it: what they printed stands there and not here.

    """
    present = phase or record.phase
    return RolloutSummary(
        number=record.rollout,
        deployment=record.deployment,
        move=move_name(record.from_revision, record.to_revision),
        requested_by=record.requested_by,
        reason=record.reason,
        phase=Phrase(text=in_words((record.outcome or present).value), tone=_tone(record.outcome)),
        is_under_way=record.outcome is None,
        since=since or record.phase_since,
        started_at=record.started_at,
        took=span((record.completed_at or now) - record.started_at),
        switched_at=record.switched_at,
        switch_epoch=record.switch_epoch,
        ended="" if record.completed_at is None else utc(record.completed_at),
        outcome_reason=without_output(record.outcome_reason, errors),
        requests_cut=record.requests_cut,
        cut=Phrase(text=f"{record.requests_cut} requests were cut", tone=Tone.BAD) if record.requests_cut else None,
        way=_way(present),
    )


def rollout_event_rows(record: RolloutRecord, events: Collection[AuditEvent]) -> tuple[RolloutEventRow, ...]:
    """Return what happened in a rollout, with how long after its begin."""
    return tuple(RolloutEventRow(**dict(row), after=span(row.at - record.started_at)) for row in event_rows(events))


def _way(present: RolloutPhase) -> tuple[Step, ...]:
    way = WAY if present in WAY else (present,)
    place = way.index(present)
    return tuple(
        Step(
            name=in_words(phase.value),
            state="passed" if number < place else "present" if number == place else "ahead",
        )
        for number, phase in enumerate(way)
    )


def _tone(outcome: RolloutOutcome | None) -> Tone:
    match outcome:
        case None:
            return Tone.WARN
        case RolloutOutcome.PROMOTED:
            return Tone.GOOD
        case (
            RolloutOutcome.ROLLED_BACK
            | RolloutOutcome.ABORTED
            | RolloutOutcome.EXPIRED
            | RolloutOutcome.SUPERSEDED
            | RolloutOutcome.FAILED
        ):
            return Tone.BAD
        case _ as unreachable:
            assert_never(unreachable)


async def read_rollout(
    service: "Service", who: Principal, number: int, *, deployment: str | None = None
) -> RolloutRecord:
    """Return one rollout.

    Args:
        service: reads it.
        who: asks.
        number: the rollout's.
        deployment: whose it must be; any deployment's when not given.

    Raises:
        RefusedError: there is none, or the caller may not see it; in words for every door.

    """
    from celadon.table.read.listing import rollout_within

    record = await service.read(who, lambda tx, scope: rollout_within(tx, scope, number))
    if record is None or deployment not in {None, record.deployment}:
        what = f"there is no rollout {number}" if deployment is None else f"{deployment} has no rollout {number}"
        raise refuse(RefusalCode.NO_SUCH_ROLLOUT, what, "look at the list of rollouts")
    return record


async def read_rollout_events(
    service: "Service", who: Principal, record: RolloutRecord, *, limit: int
) -> tuple[AuditEvent, ...]:
    """Return the last lines of the audit log of a rollout that the caller was shown, oldest first."""
    from celadon.table.read.history import read_events

    newest_first = await service.read(
        who,
        lambda tx, _: read_events(tx, record.deployment, rollout=record.rollout, limit=limit),
    )
    return newest_first[::-1]
