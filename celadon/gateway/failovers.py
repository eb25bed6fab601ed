"""How many requests each router has sent to a fallback, because no replica of the live set could take them."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from celadon.domain.decisions.publication import Publication
from celadon.domain.language.names import DeploymentName, Epoch, RouterNode, RouteSetId
from celadon.gateway.load_reports import LoadReport
from celadon.gateway.resources import cluster_name

_UNSETTLED_REPORTS: Final = 1
"""The first report behind an acknowledgement tells of requests from before it, too."""


class Failovers:
    """Which sets are fallbacks, and since when each router serves them as such."""

    def __init__(self) -> None:
        """Begin without fallbacks."""
        self._began: dict[DeploymentName, dict[RouteSetId, Epoch]] = {}
        """The first epoch at which a set was a fallback."""
        self._clusters: dict[RouteSetId, frozenset[str]] = {}
        self._reports: defaultdict[RouterNode, dict[RouteSetId, int]] = defaultdict(dict)
        """Sets that a router serves as fallbacks, with the reports that came since."""

    def publish(self, publication: Publication) -> None:
        """Take a deployment's publication, before any router can acknowledge it."""
        clusters: defaultdict[RouteSetId, set[str]] = defaultdict(set)
        for destination, endpoints in publication.destinations.items():
            for endpoint in endpoints:
                if endpoint.is_fallback:
                    clusters[endpoint.route_set].add(cluster_name(publication.deployment, destination))
        began = self._began.get(publication.deployment, {})
        self.withdraw(publication.deployment, but=clusters)
        if clusters:
            self._began[publication.deployment] = {one: began.get(one, publication.epoch) for one in clusters}
            self._clusters |= {one: frozenset(names) for one, names in clusters.items()}

    def withdraw(self, deployment: DeploymentName, but: Mapping[RouteSetId, object] | None = None) -> None:
        """Forget a deployment, or those of its sets that are no fallbacks any more."""
        for route_set in self._began.pop(deployment, {}).keys() - (but or {}).keys():
            del self._clusters[route_set]
            for reports in self._reports.values():
                reports.pop(route_set, None)

    def acknowledge(self, node: RouterNode, epochs: Mapping[DeploymentName, Epoch]) -> None:
        """Take a router's acknowledgements."""
        for deployment, epoch in epochs.items():
            for route_set, began in self._began.get(deployment, {}).items():
                if epoch >= began:
                    self._reports[node].setdefault(route_set, 0)

    def disconnect(self, node: RouterNode) -> None:
        """Forget what a router serves; it acknowledges anew when it is back."""
        self._reports.pop(node, None)

    def report(self, node: RouterNode, report: LoadReport) -> dict[RouteSetId, int]:
        """Take a router's report; return how many requests it has sent since the last one to each fallback, if any."""
        reports = self._reports.get(node)
        if not reports:
            return {}
        sent: dict[RouteSetId, int] = {}
        for route_set in reports:
            reports[route_set] += 1
            issued = sum(report.issued.get(cluster, {}).get(route_set, 0) for cluster in self._clusters[route_set])
            if issued and reports[route_set] > _UNSETTLED_REPORTS:
                sent[route_set] = issued
        return sent
