"""The schedules of a deployment: what people have made through Celadon, and what Temporal has."""

# ruff: noqa: PLC0415 - looking needs neither a database nor Temporal

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pydantic import AwareDatetime, JsonValue

from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import SCHEDULE_ID_PREFIX, schedule_id
from celadon.domain.language.moments import utc
from celadon.service.command import Tone
from celadon.service.pages import Page, named
from celadon.service.principal import Principal
from celadon.service.rollout_words import in_words
from celadon.service.views.phrases import Phrase, Shown, vouched

if TYPE_CHECKING:
    from celadon.client.schedules import KnownSchedule
    from celadon.service.service import Service
    from celadon.table.records.schedules import ScheduleRecord


class ScheduleState(StrEnum):
    """Where a schedule stands."""

    ACTIVE = "active"
    """It fires."""
    PAUSED = "paused"
    """Somebody has paused it in Temporal."""
    ENDED = "ended"
    """Its moment has passed."""
    NOT_IN_TEMPORAL = "not_in_temporal"
    """Somebody has deleted it in Temporal, so it does not fire; delete it here, or make it anew."""
    NOT_IN_CELADON = "not_in_celadon"
    """It was deleted here and is left in Temporal: each of its firings fails. Delete it once more."""


_BROKEN: Final = frozenset({ScheduleState.NOT_IN_TEMPORAL, ScheduleState.NOT_IN_CELADON})


class ScheduleFiring(Record):
    """The last time that a schedule fired."""

    at: AwareDatetime
    """The moment for which it was scheduled."""
    came_of_it: str
    """``done``, ``failed``, ``asking`` while it has not been answered, or ``forgotten`` when Temporal does not know."""
    said: str
    """What was answered, or why it failed."""
    workflow_id: str
    """The id of the workflow that asked, in Temporal."""


class ScheduleView(Record):
    """One schedule of a deployment."""

    schedule: str
    """Its name, or its id in Temporal when it was made there."""
    schedule_id: str
    """Its id in Temporal."""
    state: ScheduleState
    """Where it stands."""
    command: str
    """The command that it gives."""
    argument: dict[str, JsonValue]
    """What the command says."""
    when: str
    """Its moments."""
    author: str
    """For whom it fires; empty for one that was made in Temporal, which is judged as an unsigned message is."""
    signed: bool
    """Whether a door vouches for the author."""
    reason: str
    """Why it was made."""
    next_at: AwareDatetime | None
    """When it fires next."""
    last: ScheduleFiring | None
    """The last time that it fired; nothing when it has not, or Temporal does not know any more."""


class ScheduleList(Page[ScheduleView, str]):
    """The schedules of a deployment, by name.

    Those that were made in Temporal are among them, as far as Temporal's first ones were looked through.
    """

    model_config = named("schedules", "next_after")

    left_out: bool
    """Whether Temporal has so many schedules that some that were made there may be missing."""


class ScheduleRow(Shown):
    """A schedule in a list as people see it."""

    name: str
    command: str
    """With what it says, such as ``scale replicas=3``."""
    when: str
    author: str
    """For whom it fires, and whether a door vouches for that; empty when that is not known."""
    reason: str
    state: Phrase
    next_at: datetime | None
    """``None`` when it does not fire any more."""
    last_at: datetime | None
    """``None`` when it has not fired, or Temporal does not know any more."""
    last: Phrase | None
    """What came of the last time."""


def schedule_row(one: ScheduleView) -> ScheduleRow:
    """Return a schedule as a list shows it."""
    firing = one.last
    return ScheduleRow(
        name=one.schedule,
        command=" ".join((one.command, *(f"{key}={value}" for key, value in one.argument.items()))),
        when=one.when,
        author=_author(one),
        reason=one.reason,
        state=Phrase(text=in_words(one.state.value), tone=Tone.WARN if one.state in _BROKEN else Tone.PLAIN),
        next_at=one.next_at,
        last_at=None if firing is None else firing.at,
        last=None
        if firing is None
        else Phrase(
            text=firing.said or firing.came_of_it, tone=Tone.BAD if firing.came_of_it == "failed" else Tone.PLAIN
        ),
    )


def _author(one: ScheduleView) -> str:
    if one.author:
        return vouched(one.author, verified=one.signed)
    return "" if one.state is ScheduleState.NOT_IN_CELADON else "nobody (made in Temporal)"


async def read_schedules(
    service: "Service", who: Principal, name: str, *, after: str | None = None, limit: int
) -> ScheduleList:
    """Return a page of the schedules of a deployment, by name: those whose names come after ``after``.

    Raises:
        RefusedError: there is no such deployment, or the caller may not see it; or Temporal did not answer.

    """
    from celadon.service.service import answered
    from celadon.table.read.schedules import schedules_of

    async with service.reading(who, name) as tx:
        kept = {schedule_id(name, one.name): one for one in await schedules_of(tx, name)}
    schedules = (await service.rollout_client()).schedules
    known, left_out = await answered(schedules.of_deployment(name, kept))
    in_temporal = {one.id: one for one in known}
    views = [_view(identity, name, kept.get(identity), in_temporal.get(identity)) for identity in {*kept, *in_temporal}]
    rest = sorted((one for one in views if after is None or one.schedule > after), key=lambda one: one.schedule)
    return ScheduleList.of(rest[: limit + 1], limit, lambda one: one.schedule, left_out=left_out)


def _view(identity: str, deployment: str, kept: "ScheduleRecord | None", known: "KnownSchedule | None") -> ScheduleView:
    last = None if known is None else known.last
    return ScheduleView(
        schedule=identity.removeprefix(schedule_id(deployment, "")),
        schedule_id=identity,
        state=_state(identity, kept, known),
        command=kept.command if kept is not None else "" if known is None else known.command,
        argument=kept.argument if kept is not None else {} if known is None else known.argument,
        when=_when(kept) if kept is not None else "" if known is None else known.when,
        author="" if kept is None else kept.author,
        signed=kept is not None and kept.verified,
        reason="" if kept is None else kept.reason,
        next_at=None if known is None else known.next_at,
        last=None
        if last is None
        else ScheduleFiring(
            at=last.scheduled_at, came_of_it=last.state.value, said=last.said, workflow_id=last.workflow_id
        ),
    )


def _state(identity: str, kept: "ScheduleRecord | None", known: "KnownSchedule | None") -> ScheduleState:
    from datetime import UTC, datetime

    if kept is not None and kept.at is not None and kept.at < datetime.now(UTC):
        return ScheduleState.ENDED
    if known is None:
        return ScheduleState.NOT_IN_TEMPORAL
    if kept is None and identity.startswith(SCHEDULE_ID_PREFIX):
        return ScheduleState.NOT_IN_CELADON
    if known.paused:
        return ScheduleState.PAUSED
    return ScheduleState.ENDED if known.next_at is None else ScheduleState.ACTIVE


def _when(kept: "ScheduleRecord") -> str:
    return utc(kept.at) if kept.at is not None else f"{kept.cron} ({kept.zone})"
