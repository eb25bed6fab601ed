"""Who changes something, through which door and why."""

from celadon.domain.language.base_models import Record
from celadon.domain.language.states import Channel


class Author(Record):
    """Who changes something, through which door and why."""

    by: str
    door: Channel
    reason: str = ""
    verified: bool = False
    """Whether the door vouches for ``by``."""
    issuer: str = ""
    """By whose word it does; empty when it does not."""
