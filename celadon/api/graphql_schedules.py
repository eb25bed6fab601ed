"""Schedules in GraphQL."""

from datetime import datetime
from typing import Self

import strawberry
from strawberry.scalars import JSON

from celadon.api.graphql_descriptions import shows
from celadon.service.door_words import Door, said_at
from celadon.service.views.schedules import ScheduleFiring as FiringRecord
from celadon.service.views.schedules import ScheduleState, ScheduleView

strawberry.enum(ScheduleState)


@shows(FiringRecord)
@strawberry.type
class ScheduleFiring:
    """The last time that a schedule fired."""

    at: datetime
    came_of_it: str
    said: str
    workflow_id: str

    @classmethod
    def of(cls, one: FiringRecord) -> Self:
        """Show a firing."""
        return cls(
            at=one.at, came_of_it=one.came_of_it, said=said_at(Door.GRAPHQL, one.said), workflow_id=one.workflow_id
        )


@shows(ScheduleView, name="schedule", id="schedule_id")
@strawberry.type
class Schedule:
    """A command that Temporal gives at a moment, or again and again."""

    id: strawberry.ID
    name: str
    state: ScheduleState
    command: str
    argument: JSON
    when: str
    author: str
    signed: bool
    reason: str
    next_at: datetime | None
    last: ScheduleFiring | None

    @classmethod
    def of(cls, one: ScheduleView) -> Self:
        """Show a schedule."""
        return cls(
            id=strawberry.ID(one.schedule_id),
            name=one.schedule,
            state=one.state,
            command=one.command,
            argument=JSON(one.argument),
            when=one.when,
            author=one.author,
            signed=one.signed,
            reason=one.reason,
            next_at=one.next_at,
            last=None if one.last is None else ScheduleFiring.of(one.last),
        )
