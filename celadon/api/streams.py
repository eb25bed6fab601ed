"""How many live streams a process of the API has open, and whose they are."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from celadon.api.metrics import ApiMetrics
from celadon.api.problems import HttpRefusal

SCARCE: Final = 0.75
"""From this share of all streams on, each caller may open its first alone: the rest is room for others."""


def may_open(own: int, of_all: int, most_per_caller: int, most: int) -> bool:
    """Whether a caller with ``own`` open streams may open another while ``of_all`` are open."""
    if of_all >= most or own >= most_per_caller:
        return False
    return own == 0 or of_all < SCARCE * most


class Streams:
    """Counts streams, and refuses one too many: of a caller, and of all."""

    def __init__(self, most: int, most_per_caller: int, metrics: ApiMetrics) -> None:
        """Allow ``most`` at the same time, and each caller ``most_per_caller`` of them."""
        self._most = most
        self._most_per_caller = most_per_caller
        self._metrics = metrics
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_more(self, caller: str) -> Iterator[None]:
        """Count a stream of ``caller`` while it is open.

        Raises:
            HttpRefusal: so many are open already.

        """
        if not may_open(self._open[caller], self._open.total(), self._most_per_caller, self._most):
            raise self._refused(self._open[caller])
        self._open[caller] += 1
        self._metrics.streams.inc()
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]
            self._metrics.streams.dec()

    def _refused(self, own: int) -> HttpRefusal:
        if self._open.total() >= self._most:
            return HttpRefusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "TOO_MANY_STREAMS",
                f"{self._most} live streams are open",
                "try again later, or raise CELADON_API_MAX_STREAMS",
                retry_after=10,
            )
        return HttpRefusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            "TOO_MANY_STREAMS",
            f"{own} live streams of this caller are open, and the rest is left to others",
            "close one, or follow all deployments in one stream (/v1/stream)",
            retry_after=10,
        )
