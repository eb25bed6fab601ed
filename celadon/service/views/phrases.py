"""What views are made of: words with a tone, and how much of a view is shown."""

from collections.abc import Iterator
from datetime import datetime

from pydantic import ConfigDict

from celadon.domain.language.base_models import Record
from celadon.domain.language.moments import span
from celadon.service.command import Tone
from celadon.service.rollout_words import revision_name


class Shown(Record):
    """A value that is shown to people; Pydantic prepares its class when the first is made: most commands make none."""

    model_config = ConfigDict(defer_build=True)


class Phrase(Shown):
    """Some words, and how good they are."""

    text: str
    tone: Tone = Tone.PLAIN


def live_phrase(revision: int | None) -> Phrase:
    """Return which revision is live."""
    return Phrase(text=revision_name(revision), tone=Tone.WARN if revision is None else Tone.GOOD)


def vouched(name: str, *, verified: bool) -> str:
    """Return a name, with that its bearer has merely declared it where no door vouches for it."""
    return name if verified else f"{name} (declared)"


class Countdown(Shown):
    """Something that comes at a moment."""

    what: str
    """Such as ``bake ends``."""
    at: datetime

    def told(self, now: datetime) -> str:
        """Return it with the span that is left."""
        return f"{self.what} in {span(self.at - now)}"


class Room(Shown):
    """How much of a deployment's view is shown; what is left out is counted where people would miss it."""

    replicas: int = 12
    """Of each set; unhealthy ones first."""
    events: int = 8
    refusals: int = 3
    output_lines: int = 5
    """The last lines that a failed replica printed."""
    settled_routers: bool = True
    """Whether each router is listed although all serve the present epoch."""
    passed_phases: bool = True
    """Whether the names of phases that have passed are shown."""


WHOLE = Room()


def smaller_rooms() -> Iterator[Room]:
    """Yield what is shown where there is less and less room: the newest events and what is wrong stay longest."""
    narrow = Room(passed_phases=False, settled_routers=False)
    yield narrow
    for events, replicas, refusals, lines in (
        (5, 12, 2, 5),
        (4, 6, 1, 4),
        (3, 4, 1, 3),
        (2, 2, 1, 3),
        (1, 1, 1, 2),
        (1, 0, 0, 1),
        (0, 0, 0, 0),
    ):
        yield narrow.model_copy(
            update={"events": events, "replicas": replicas, "refusals": refusals, "output_lines": lines}
        )
