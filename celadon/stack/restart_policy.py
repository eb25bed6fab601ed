"""When a child that died is started again."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

FIRST_DELAY: Final = timedelta(milliseconds=200)
LONGEST_DELAY: Final = timedelta(seconds=10)
_MOST_DOUBLINGS: Final = 10
STEADY_AFTER: Final = timedelta(seconds=30)
"""A child that ran so long had got over what it died of before."""
CRASH_LOOP_AFTER: Final = 5
"""Deaths one after the other, none after a steady run, that are told as a crash loop."""


@dataclass(frozen=True, slots=True)
class RestartHistory:
    """The deaths of a child since it last ran steadily."""

    deaths: int = 0

    def after_death(self, uptime: timedelta) -> "RestartHistory":
        """Return the history after a death that came ``uptime`` after the child had become ready."""
        return RestartHistory(1 if uptime >= STEADY_AFTER else self.deaths + 1)

    @property
    def delay(self) -> timedelta:
        """How long to wait before the next start: doubled at each death, up to the longest."""
        if self.deaths == 0:
            return timedelta(0)
        return min(FIRST_DELAY * (1 << min(self.deaths - 1, _MOST_DOUBLINGS)), LONGEST_DELAY)

    @property
    def is_crash_loop(self) -> bool:
        """Whether the child dies again and again."""
        return self.deaths >= CRASH_LOOP_AFTER
