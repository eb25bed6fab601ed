"""Deliveries of notifications, as people see them."""

from datetime import datetime

from celadon.domain.language.base_models import Record
from celadon.domain.language.notification import DeliveryState


class ToldRecord(Record):
    """One delivery as people see it."""

    notification: str
    """The notification's id; every attempt sends the same one."""
    rollout: int | None
    """The rollout that it tells of; nothing for a sample."""
    kind: str
    """What it tells, such as ``switched``."""
    at: datetime
    """When that happened."""
    target: str
    """The target's name."""
    state: DeliveryState
    """Where it stands."""
    attempts: int
    """How often it was tried."""
    last_status: int | None
    """The HTTP status of the last attempt; nothing when there was no answer."""
    last_error: str
    """What went wrong at the last attempt; empty when nothing did."""
    due_at: datetime
    """When it was to be told."""
    delivered_at: datetime | None
    """When the target took it; nothing while it has not."""
    next_attempt_at: datetime | None
    """Nothing when there will be none."""
