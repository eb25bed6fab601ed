"""How long a door waits for a rollout's answer, and what it says when there is none."""

from datetime import timedelta
from typing import Final

QUERY_PATIENCE: Final = timedelta(seconds=10)
SIGNAL_PATIENCE: Final = timedelta(seconds=10)
UPDATE_PATIENCE: Final = timedelta(seconds=60)
"""Above ``router_ack_timeout`` of most policies; a caller that gave up can ask again with the same request id."""


class NoAnswerError(Exception):
    """Nobody answered in time; the text says who should have."""


class CouldNotAnswerError(NoAnswerError):
    """A worker has taken the question and could not answer it, because it cannot take up the rollout's history."""

    def __init__(self, text: str, failure: str) -> None:
        """Say ``text``; ``failure`` is what the worker has said."""
        super().__init__(text)
        self.failure = failure
