"""What the gateway tells Prometheus."""

from threading import Thread
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from celadon.gateway.addresses import SocketAddress
from celadon.table.core.trouble_log import TroubleLog

ACK_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)


class GatewayMetrics:
    """The gateway's own registry, so that several gateways can live in one process."""

    def __init__(self) -> None:
        """Register all metrics."""
        self.registry = CollectorRegistry()
        self.streams = Gauge(
            "celadon_gateway_streams",
            "Open streams by service.",
            ["service"],
            registry=self.registry,
        )
        self.refused_streams = Counter(
            "celadon_gateway_refused_streams",
            "Streams of peers that may not speak for the router that they named, by service.",
            ["service"],
            registry=self.registry,
        )
        self.publications = Counter(
            "celadon_gateway_publications",
            "Epochs of deployments that routers were to be told.",
            registry=self.registry,
        )
        self.responses = Counter(
            "celadon_gateway_responses",
            "Discovery responses sent, by type.",
            ["type"],
            registry=self.registry,
        )
        self.resources = Counter(
            "celadon_gateway_resources",
            "Resources sent or removed, by type.",
            ["type"],
            registry=self.registry,
        )
        self.refusals = Counter(
            "celadon_gateway_refusals",
            "Discovery responses that a router refused (NACK), by type.",
            ["type"],
            registry=self.registry,
        )
        self.acknowledgement_seconds = Histogram(
            "celadon_gateway_acknowledgement_seconds",
            "From a deployment's publication to a connected router's acknowledgement.",
            buckets=ACK_BUCKETS,
            registry=self.registry,
        )
        self.hosts_left_out = Gauge(
            "celadon_gateway_hosts_left_out",
            "Hosts that a deployment has claimed, and that lead to the deployment of whose name and a domain they are.",
            registry=self.registry,
        )
        self.load_reports = Counter(
            "celadon_gateway_load_reports",
            "Load reports received.",
            registry=self.registry,
        )
        self.failover_requests = Counter(
            "celadon_gateway_failover_requests",
            "Requests that routers sent to blue in the bake, because no replica of green could take them.",
            registry=self.registry,
        )
        self.panic = Gauge(
            "celadon_panic",
            "1 while too few live replicas are healthy, so that unhealthy ones get traffic too.",
            ["deployment"],
            registry=self.registry,
        )
        self.table_errors = Counter(
            "celadon_gateway_table_errors",
            "Failed attempts to read from or write to the table.",
            registry=self.registry,
        )

        self.faults = Counter(
            "celadon_gateway_faults",
            "Errors that waiting does not heal; the part that met one goes on by itself.",
            ["part"],
            registry=self.registry,
        )
        self.dropped_news = Counter(
            "celadon_gateway_dropped_news",
            "News of routers that the table has refused for what they say, so that they were dropped.",
            registry=self.registry,
        )

    def trouble(self, part: str, event: str) -> TroubleLog:
        """Return where a part of the gateway tells of its troubles with the table."""
        return TroubleLog(event, self.table_errors.inc, self.faults.labels(part).inc)

    def serve(self, address: SocketAddress) -> tuple[WSGIServer, Thread]:
        """Answer scrapes in a thread; raises ``OSError`` when the address is not free."""
        return start_http_server(address.port, address.host, registry=self.registry)
