"""What the keeper tells Prometheus."""

from collections import Counter as Tally
from collections.abc import Iterable
from itertools import product

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from celadon.domain.language.states import RouteHealthStatus, RouteStatus
from celadon.table.core.trouble_log import TroubleLog
from celadon.table.replicas.keeper_reads import ManagedRoute

_UNFINISHED = (RouteStatus.PROVISIONING, RouteStatus.RUNNING, RouteStatus.TERMINATING)


class KeeperMetrics:
    """The keeper's metrics in one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register them."""
        self.lease_held = Gauge("celadon_keeper_lease_held", "1 while this keeper owns replicas.", registry=registry)
        self.replicas = Gauge(
            "celadon_keeper_replicas",
            "Replicas that have not ended, by lifecycle and health; 0 for a keeper without the lease.",
            ["status", "health"],
            registry=registry,
        )
        self.probes = Counter("celadon_keeper_probes", "Probes of replicas.", ["result"], registry=registry)
        self.failed_replicas = Counter(
            "celadon_keeper_failed_replicas",
            "Replicas that could not be started or ended by themselves.",
            registry=registry,
        )
        self.outbox = Gauge(
            "celadon_keeper_outbox",
            "Signals that Temporal has not taken yet.",
            registry=registry,
        )
        self.faults = Counter(
            "celadon_keeper_faults",
            "Unexpected errors after which a part of the keeper was started again.",
            ["part"],
            registry=registry,
        )

        self.table_errors = Counter(
            "celadon_keeper_table_errors",
            "Failed attempts to use the table which are made again, because waiting or a migration heals them.",
            registry=registry,
        )

        self.pruned_rows = Counter(
            "celadon_keeper_pruned_rows",
            "Rows that had had their time and were deleted, by table.",
            ["table"],
            registry=registry,
        )

    def trouble(self, part: str, event: str) -> TroubleLog:
        """Return where a part of the worker tells of its troubles with the table."""
        return TroubleLog(event, self.table_errors.inc, self.faults.labels(part).inc)

    def count_replicas(self, routes: Iterable[ManagedRoute]) -> None:
        """Publish how many replicas there are of each kind."""
        tally = Tally((route.status, route.health) for route in routes)
        for status, health in product(_UNFINISHED, RouteHealthStatus):
            self.replicas.labels(status.value, health.value).set(tally[status, health])
