"""What a rollout's Temporal history tells: what it costs, and when its switches were decided."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Epoch
from celadon.domain.language.steps import SwitchAnswer

LOCAL_ACTIVITY_MARKER: Final = "core_local_activity"
"""The name under which Temporal's SDKs record a local activity."""

BILLED_ONCE: Final = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        EventType.EVENT_TYPE_TIMER_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
    },
)


def billable_actions(events: Sequence[HistoryEvent]) -> int:
    """Return the actions that Temporal Cloud would bill for one history.

    Billed are the start, each start of an activity with each retry, each timer, signal, accepted update and upsert of
    search attributes, and all local activities of one workflow task as one. Heartbeats, queries and rejected updates
    are billed too, but leave no event, and are not in the figure.
    """
    once = sum(event.event_type in BILLED_ONCE for event in events)
    attempts = sum(
        event.activity_task_started_event_attributes.attempt
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    )
    tasks_with_local_activities = {
        event.marker_recorded_event_attributes.workflow_task_completed_event_id
        for event in events
        if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED
        and event.marker_recorded_event_attributes.marker_name == LOCAL_ACTIVITY_MARKER
    }
    return once + attempts + len(tasks_with_local_activities)


class DecidedSwitch(Record):
    """A switch as the history of its rollout tells it; the clocks are Temporal's and the database's."""

    decided_at: datetime
    """When its timer fired, or when the message came in that asked for it."""
    committed_at: datetime
    epoch: Epoch
    silent: tuple[str, ...]
    """Live routers that did not acknowledge in time."""


def decided_switch(
    events: Sequence[HistoryEvent],
    *,
    activity: str,
    messages: frozenset[str],
) -> DecidedSwitch | None:
    """Return the last switch that ``activity`` committed, none when there was no such switch.

    Its decision is the last message of those named ``messages``, or the last timer that fired, before the activity was
    scheduled. A message that came as an update counts from the workflow task that brought it, because its acceptance
    is recorded only after the workflow has seen it. A switch that waited for nothing was decided when scheduled.
    """
    by_id = {event.event_id: event for event in events}
    for event in reversed(events):
        if event.event_type != EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            continue
        completed = event.activity_task_completed_event_attributes
        scheduled = by_id[completed.scheduled_event_id]
        if _activity_of(scheduled) != activity:
            continue
        answer = SwitchAnswer.model_validate_json(completed.result.payloads[0].data)
        if answer.epoch is None or answer.at is None:
            continue
        return DecidedSwitch(
            decided_at=_decision_time(events, scheduled, messages),
            committed_at=answer.at,
            epoch=answer.epoch,
            silent=answer.silent,
        )
    return None


def activity_ended_at(events: Sequence[HistoryEvent], activity: str) -> datetime | None:
    """Return when an activity of this name was completed last, none when none was."""
    by_id = {event.event_id: event for event in events}
    return next(
        (
            _time(event)
            for event in reversed(events)
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
            and _activity_of(by_id[event.activity_task_completed_event_attributes.scheduled_event_id]) == activity
        ),
        None,
    )


def _activity_of(scheduled: HistoryEvent) -> str:
    return scheduled.activity_task_scheduled_event_attributes.activity_type.name


def _decision_time(events: Sequence[HistoryEvent], scheduled: HistoryEvent, messages: frozenset[str]) -> datetime:
    by_id = {event.event_id: event for event in events}
    for event in reversed(events[: events.index(scheduled)]):
        match event.event_type:
            case EventType.EVENT_TYPE_TIMER_FIRED:
                return _time(event)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                if event.workflow_execution_signaled_event_attributes.signal_name in messages:
                    return _time(event)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                accepted = event.workflow_execution_update_accepted_event_attributes
                if accepted.accepted_request.input.name in messages:
                    return _time(by_id.get(accepted.accepted_request_sequencing_event_id, event))
    return _time(scheduled)


def _time(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)
