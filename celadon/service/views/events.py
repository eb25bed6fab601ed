"""Lines of the audit log."""

# ruff: noqa: PLC0415 - looking needs no database

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from celadon.domain.decisions.failure_cause import are_alike
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.names import RolloutId
from celadon.domain.language.shown_text import one_line
from celadon.domain.language.states import RolloutOutcome
from celadon.service.command import Tone
from celadon.service.pages import Page, named
from celadon.service.principal import Principal
from celadon.service.rollout_words import describe_event, event_detail, event_title
from celadon.service.views.phrases import Shown
from celadon.service.views.sets import without_output
from celadon.table.records.events import AuditEvent, DeploymentEvent

if TYPE_CHECKING:
    from celadon.service.service import Service
    from celadon.table.read.event_order import Place, SettledLines

_GOOD: Final = frozenset({"switched", "switched_back", "awaiting_promotion"})
_BAD: Final = frozenset(
    {"replica_failed", "port_taken", "regressed", "message_refused", "promotion_refused", "failed"},
)
_OUTPUT: Final = "output"
_TOLD_OF_REPLICAS: Final = frozenset({_OUTPUT, "last_error"})
"""Evidence that stands beside the replicas in the view of their rollout."""


class EventRow(Shown):
    """One line of the audit log as people see it."""

    at: datetime
    rollout: str
    """The rollout's number; a dash when the line is about the deployment alone."""
    title: str
    """What happened, by whom and through which door."""
    detail: str
    """Why, and what it rests on; may be empty."""
    text: str
    """Both in a line."""
    tone: Tone


def event_row(event: AuditEvent, errors: Collection[str] | None = None) -> EventRow:
    """Return a line as people see it.

    Args:
        event: the line.
        errors: what replicas have failed with that are shown beside it: what they printed stands there and not here.

    """
    if errors is not None:
        evidence = {name: value for name, value in event.evidence.items() if name not in _TOLD_OF_REPLICAS}
        event = event.model_copy(update={"reason": without_output(event.reason, errors), "evidence": evidence})
    return EventRow(
        at=event.at,
        rollout="-" if event.rollout is None else str(event.rollout),
        title=event_title(event),
        detail=event_detail(event),
        text=describe_event(event),
        tone=_tone(event),
    )


def event_rows(events: Collection[AuditEvent]) -> tuple[EventRow, ...]:
    """Return lines as people see them; what replicas printed that failed alike stands once, beside the newest."""
    with_output: list[AuditEvent] = []
    for event in sorted(events, key=lambda one: one.id, reverse=True):
        is_repeated = any(one.rollout == event.rollout and are_alike(one.reason, event.reason) for one in with_output)
        if event.evidence.get(_OUTPUT) and not is_repeated:
            with_output.append(event)
    errors = errors_told(events)
    return tuple(event_row(event, None if event in with_output else errors.get(event.rollout)) for event in events)


def errors_told(events: Collection[AuditEvent]) -> Mapping[RolloutId | None, Collection[str]]:
    """Return by rollout what replicas have failed with of which these lines tell what they printed."""
    errors: dict[RolloutId | None, list[str]] = {}
    for event in events:
        if event.evidence.get(_OUTPUT) and event.reason:
            errors.setdefault(event.rollout, []).append(one_line(event.reason))
    return errors


def _tone(event: AuditEvent) -> Tone:
    if event.kind == "completed":
        return Tone.GOOD if event.evidence.get("outcome") == RolloutOutcome.PROMOTED.value else Tone.BAD
    if event.kind in _BAD:
        return Tone.BAD
    return Tone.GOOD if event.kind in _GOOD else Tone.PLAIN


class EventList(Page[DeploymentEvent, int]):
    """Lines of the audit log: newest first, or those that come after a line in the order of reading."""

    model_config = named("events", "next_before")

    next_after: int
    """Give it as ``after`` to get what comes next, also when nothing has come yet: no line is skipped so, however late
    it is committed. The numbers of two lines that were written at the same time may stand the other way around."""


async def read_events(
    service: "Service",
    who: Principal,
    name: str | None,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int,
) -> EventList:
    """Return lines of the audit log, of one deployment or of all that the caller may see.

    Args:
        service: reads them.
        who: the caller.
        name: the deployment; all when not given.
        before: newest first, the lines that are older than this one; the newest of all when not given.
        after: the lines that come after this one, as they come; 0 begins with the first of all.
        limit: how many at most.

    Raises:
        RefusedError: there is no such deployment, the caller may not see it, or ``before`` and ``after`` are given.

    """
    from celadon.table.read.event_order import events_after, newest_events, settled_soon

    if before is not None and after is not None:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            "before and after exclude one another",
            "give 'before' to go back from the newest line, or 'after' to go on from a line",
        )
    if name is not None:
        await service.see(who, name)
    if after is not None:
        following = await service.read(who, lambda tx, scope: events_after(tx, scope, name, after, limit))
        return EventList(items=following, next_after=following[-1].id if following else after)

    async def newest() -> "SettledLines":
        return await service.read(who, lambda tx, scope: newest_events(tx, scope, name, before, limit + 1))

    events = await settled_soon(newest) if before is None else (await newest()).events
    return EventList.of(events, limit, lambda one: one.id, next_after=events[0].id if events else before or 0)


async def place_of_line(service: "Service", who: Principal, line: int) -> "Place":
    """Return where a line of the audit log stands in the order in which lines are read."""
    from celadon.table.read.event_order import place_of

    return await service.read(who, lambda tx, _: place_of(tx, line))


async def lines_after(
    service: "Service", who: Principal, name: str | None, place: "Place", *, limit: int
) -> "SettledLines":
    """Return the next lines of the audit log, of one deployment or of all that the caller may see.

    Raises:
        RefusedError: there is no such deployment, or the caller may not see it any more.

    """
    from celadon.table.read import event_order

    if name is None:
        return await service.read(who, lambda tx, scope: event_order.lines_after(tx, scope, None, place, limit))
    async with service.reading(who, name) as tx:
        return await event_order.lines_after(tx, {}, name, place, limit)
