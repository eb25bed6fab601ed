"""Schedules as the table knows them."""

from datetime import datetime

from pydantic import JsonValue

from celadon.domain.language.base_models import Record


class NewSchedule(Record):
    """What a schedule is to be."""

    deployment: str
    name: str
    command: str
    argument: dict[str, JsonValue]
    at: datetime | None
    """The one moment; ``None`` for a schedule with a timetable."""
    cron: str
    """Empty for a schedule that fires once."""
    zone: str


class ScheduleRecord(NewSchedule):
    """A schedule that somebody has made, and who."""

    author: str
    issuer: str
    """Who vouches for the author; empty when nobody does."""
    verified: bool
    reason: str
    created_at: datetime
