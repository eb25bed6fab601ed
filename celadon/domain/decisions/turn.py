"""How often a rollout whose turn it is is started until it has begun."""

from datetime import timedelta
from typing import Final

SOON: Final = timedelta(milliseconds=50)
"""How often at first: the workflow of the rollout before it closes within some milliseconds."""
SOON_FOR: Final = timedelta(seconds=2)
SELDOM: Final = timedelta(seconds=5)
_SHARE: Final = 4


def next_attempt_after(waited: timedelta) -> timedelta:
    """Return how long to wait for the next attempt once it has been its turn for so long."""
    if waited < SOON_FOR:
        return SOON
    return min(waited / _SHARE, SELDOM)
