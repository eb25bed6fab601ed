"""How many live streams a process of the API has open."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from celadon.api.metrics import ApiMetrics
from celadon.api.problems import DoorError


class Streams:
    """Counts streams, and refuses one too many."""

    def __init__(self, most: int, metrics: ApiMetrics) -> None:
        """Allow ``most`` at the same time."""
        self._most = most
        self._metrics = metrics
        self._open = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a stream while it is open.

        Raises:
            DoorError: so many are open already.

        """
        if self._open >= self._most:
            raise DoorError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "TOO_MANY_STREAMS",
                f"{self._most} live streams are open",
                "try again later, or raise CELADON_API_MAX_STREAMS",
                retry_after=10,
            )
        self._open += 1
        self._metrics.streams.inc()
        try:
            yield
        finally:
            self._open -= 1
            self._metrics.streams.dec()
