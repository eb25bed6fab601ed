"""The growth of a green that was opened as a preview: a decision to switch that waits for all of green."""

from pydantic import AwareDatetime

from celadon.domain.language.base_models import Record
from celadon.domain.language.states import Channel


class Growth(Record):
    """A decision that counts, by which green grows to all its replicas before traffic switches."""

    by: str
    """Who has decided."""
    door: Channel
    """Through which door."""
    reason: str
    """Why."""
    at: AwareDatetime
    """The moment of the decision, by the database's clock: windows are judged by it, and not by the switch's."""
    wanted: int
    """How many replicas green grows to."""
    seq: int
    """The number of green's last edge by then: what earlier ones say is not about the green that grows."""
    no_room: str = ""
    """Why green does not grow yet, in words; empty once it does."""
