"""The reference page of metrics, from the objects that register them."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from activities.metrics import StepMetrics
from celadon.api.metrics import ApiMetrics
from celadon.gateway.metrics import GatewayMetrics
from celadon.keeper.metrics import KeeperMetrics
from celadon.notifications.metrics import NotificationMetrics
from tests.docs.tables import code, prose, table


def metrics_page() -> str:
    """Return the page."""
    sections = (
        (
            "Worker: the keeper",
            "At `CELADON_METRICS_ADDRESS` of each worker.",
            KeeperMetrics(CollectorRegistry()),
        ),
        (
            "Worker: steps of rollouts",
            "At the same address.",
            StepMetrics(CollectorRegistry()),
        ),
        (
            "Worker: notifications",
            "At the same address. Gauges are read from the table, so every worker shows the same values.",
            NotificationMetrics(CollectorRegistry()),
        ),
        (
            "Gateway",
            "At `CELADON_GATEWAY_METRICS_ADDRESS` of each gateway; without that variable a gateway serves no metrics.",
            GatewayMetrics(),
        ),
        (
            "API",
            "At `/metrics` of the API, with a token that has the right `scrape`.",
            ApiMetrics(CollectorRegistry()),
        ),
    )
    text = "".join(
        f"\n## {title}\n\n{where}\n\n{table(('metric', 'type', 'labels', 'meaning'), _rows(metrics))}"
        for title, where, metrics in sections
    )
    return f"""# Metrics

Every service of Celadon serves Prometheus's text format. A worker also serves the metrics of its Python process. No
label holds text that a client has sent.
{text}"""


def _rows(metrics: object) -> Iterator[tuple[str, str, str, str]]:
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            # The library shows the names of labels only together with values, of which a new metric has none.
            labels: tuple[str, ...] = tuple(vars(metric)["_labelnames"])
            yield code(name), family.type, ", ".join(map(code, labels)), prose(family.documentation)
