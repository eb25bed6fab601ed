"""Who changes something, through which door and why."""

from celadon.domain.language.base_models import Record
from celadon.domain.language.states import Channel


class Asker(Record):
    """Who asks for something, as far as that is known."""

    by: str
    door: Channel | None = None
    """Nothing when no door says so."""
    reason: str = ""
    verified: bool = False
    """Whether the door vouches for ``by``."""
    issuer: str = ""
    """By whose word: the URL of an issuer of JWTs, or one of ``celadon.domain.language.identity``; else empty."""


class Author(Asker):
    """Who changes something through a door that is known."""

    door: Channel
