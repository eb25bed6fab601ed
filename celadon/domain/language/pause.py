"""A rollout whose timers stand still."""

from datetime import datetime

from celadon.domain.language.base_models import Record
from celadon.domain.language.states import Channel


class Pause(Record):
    """All timers of a rollout stand still. A person's decisions go ahead all the same, and so does an abort."""

    by: str
    door: Channel
    reason: str
    since: datetime
    until: datetime | None = None
    """When the timers run on by themselves; nothing when somebody has to resume the rollout."""
    until_by: str = ""
    """Who has changed that end since; empty when nobody has."""
