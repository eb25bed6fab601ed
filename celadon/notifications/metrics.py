"""What the delivery of notifications tells Prometheus."""

from collections.abc import Collection
from datetime import datetime

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from celadon.table.core.trouble_log import TroubleLog
from celadon.table.notifications.deliveries import TargetLoad


class NotificationMetrics:
    """The metrics of deliveries in one registry; gauges are of the table, so every worker shows the same."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register them."""
        self.delivered = Counter(
            "celadon_notifications_delivered",
            "Notifications that a target has taken from this worker.",
            ["target"],
            registry=registry,
        )
        self.failed_attempts = Counter(
            "celadon_notifications_failed_attempts",
            "Attempts of this worker that a target did not take.",
            ["target"],
            registry=registry,
        )
        self.given_up = Counter(
            "celadon_notifications_given_up",
            "Notifications that this worker has given up.",
            ["target"],
            registry=registry,
        )
        self.waiting = Gauge(
            "celadon_notifications_waiting",
            "Notifications that are due and not delivered.",
            ["target"],
            registry=registry,
        )
        self.dead = Gauge(
            "celadon_notifications_dead",
            "Notifications that were given up and not retried.",
            ["target"],
            registry=registry,
        )
        self.oldest = Gauge(
            "celadon_notifications_oldest_seconds",
            "How long the oldest notification has been due that is not delivered; 0 when there is none.",
            ["target"],
            registry=registry,
        )

        self.table_errors = Counter(
            "celadon_notifications_table_errors",
            "Failed attempts to read what is due which are made again, because waiting or a migration heals them.",
            registry=registry,
        )
        self.faults = Counter(
            "celadon_notifications_faults",
            "Unexpected errors; the part that met one goes on by itself.",
            ["part"],
            registry=registry,
        )

    def trouble(self, part: str, event: str) -> TroubleLog:
        """Return where a part of the courier tells of its troubles with the table."""
        return TroubleLog(event, self.table_errors.inc, self.faults.labels(part).inc)

    def show(self, loads: Collection[TargetLoad], now: datetime) -> None:
        """Publish how far targets are behind."""
        for gauge in (self.waiting, self.dead, self.oldest):
            gauge.clear()
        for load in loads:
            self.waiting.labels(load.target).set(load.waiting)
            self.dead.labels(load.target).set(load.dead)
            age = 0.0 if load.oldest_due_at is None else max(0.0, (now - load.oldest_due_at).total_seconds())
            self.oldest.labels(load.target).set(age)
