"""Whether a schedule's firing counts."""

from collections.abc import Mapping
from datetime import datetime

from celadon.domain.decisions.timetable import fires_at
from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import SCHEDULE_CATCH_UP
from celadon.domain.language.durations import format_duration
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.moments import utc
from celadon.domain.language.scheduling import AskRequest


class PlannedAsk(Record):
    """What the author of a schedule wants asked, and when."""

    command: str
    argument: Mapping[str, object]
    at: datetime | None
    """The one moment; ``None`` for a schedule with a timetable."""
    cron: str
    zone: str


def refuse_late_firing(scheduled_at: datetime | None, now: datetime) -> Refusal | None:
    """Return why a command that was scheduled is not given any more, or ``None`` when it is in time."""
    if scheduled_at is None or now - scheduled_at <= SCHEDULE_CATCH_UP:
        return None
    return Refusal(
        code=RefusalCode.TOO_LATE,
        message=f"it was scheduled for {utc(scheduled_at)}, more than {_CATCH_UP} ago",
        next_step="look at the deployment and give the command yourself if it is still meant",
    )


def refuse_other_firing(planned: PlannedAsk, request: AskRequest, scheduled_at: datetime | None) -> Refusal | None:
    """Return why a firing is not what the schedule's author wanted, or ``None`` when it is.

    Args:
        planned: what the author wanted.
        request: what is asked for.
        scheduled_at: for when, as Temporal says.

    """
    if (request.command, request.argument) != (planned.command, dict(planned.argument)):
        return _changed("it asks for something else than its author wanted")
    if scheduled_at is None or not fires_at(scheduled_at, at=planned.at, cron=planned.cron, zone=planned.zone):
        return _changed("it did not fire at a moment that its author has named")
    return None


def _changed(why: str) -> Refusal:
    return Refusal(
        code=RefusalCode.SCHEDULE_CHANGED,
        message=f"the schedule was changed or triggered in Temporal: {why}",
        next_step="give the command yourself, or make the schedule anew with 'celadon schedule create'",
    )


_CATCH_UP = format_duration(SCHEDULE_CATCH_UP)
