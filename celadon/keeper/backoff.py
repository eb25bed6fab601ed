"""When the next replica of a set may be started after failures."""

import time
from datetime import timedelta
from typing import Final

FIRST_PAUSE: Final = timedelta(milliseconds=500)
LAST_PAUSE: Final = timedelta(seconds=30)
"""A replica that has lived so long begins the series anew."""


class StartBackoff:
    """Doubles the pause with every round of failures, not with every failure: replicas of one set fail together."""

    def __init__(self) -> None:
        """Begin without a pause."""
        self._next_pause = FIRST_PAUSE
        self._until = float("-inf")

    def failed(self, lived: timedelta, now: float | None = None) -> None:
        """Take note of a replica that ended by itself (``now`` is a moment of the monotonic clock, in seconds)."""
        now = time.monotonic() if now is None else now
        if lived >= LAST_PAUSE:
            self._next_pause = FIRST_PAUSE
            return
        if now < self._until:
            return
        self._until = now + self._next_pause.total_seconds()
        self._next_pause = min(self._next_pause * 2, LAST_PAUSE)

    def remaining(self, now: float | None = None) -> float:
        """Return how many seconds to wait before the next start."""
        now = time.monotonic() if now is None else now
        return max(0.0, self._until - now)
