"""The past of a deployment."""

from celadon.domain.language.base_models import Record
from celadon.table.records.deliveries import ToldRecord
from celadon.table.records.events import AuditEvent
from celadon.table.records.rollouts import RolloutRecord


class History(Record):
    """The last rollouts of a deployment, or one of them, with what happened."""

    deployment: str
    """The deployment's name."""
    rollouts: tuple[RolloutRecord, ...]
    """Newest first."""
    events: tuple[AuditEvent, ...]
    """Newest first."""
    notified: tuple[ToldRecord, ...]
    """What was told to whom, and failures; newest first."""
