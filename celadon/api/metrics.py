"""What the API counts, for Prometheus."""

from collections.abc import Mapping
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from celadon.domain.decisions.workflow_condition import WorkflowState
from celadon.table.core.trouble_log import TroubleLog

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
        self.workflows = Gauge(
            "celadon_rollout_workflows",
            "Unfinished rollouts by how their workflow is: healthy, failing, not_picked_up or unknown.",
            ("state",),
            registry=self._registry,
        )
        self.table_errors = Counter(
            "celadon_api_table_errors",
            "Failed attempts of background parts to use the table, because it could not be reached or is not migrated.",
            registry=self._registry,
        )
        self.faults = Counter(
            "celadon_api_faults",
            "Unexpected errors of background parts; the part that met one goes on by itself.",
            ["part"],
            registry=self._registry,
        )
        self.forget_workflows()

    def trouble(self, part: str, event: str) -> TroubleLog:
        """Return where a part of the API that runs in the background tells of its troubles."""
        return TroubleLog(event, self.table_errors.inc, self.faults.labels(part).inc)

    def count_workflows(self, states: Mapping[WorkflowState, int]) -> None:
        """Publish how many unfinished rollouts there are of each state."""
        for state in WorkflowState:
            self.workflows.labels(state.value).set(states.get(state, 0))

    def forget_workflows(self) -> None:
        """Publish that no such number is known."""
        for state in WorkflowState:
            self.workflows.labels(state.value).set(nan)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)
