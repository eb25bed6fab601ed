"""What the API counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0)


class ApiMetrics:
    """Counters of one process of the API."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Count in ``registry``, by default in one of its own."""
        self._registry = registry or CollectorRegistry()
        self.requests = Counter(
            "celadon_api_requests",
            "Requests by route and status.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "celadon_api_request_seconds",
            "How long requests took, live streams left out.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.refused = Counter(
            "celadon_api_callers_refused",
            "Requests that were refused before anybody was asked, by why.",
            ("why",),
            registry=self._registry,
        )
        self.streams = Gauge("celadon_api_streams", "Live streams that are open.", registry=self._registry)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)
