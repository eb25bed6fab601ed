"""The draining sets on each router: since when it serves them as draining, and what its load reports say."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from celadon.domain.names import DeploymentName, Epoch, RouterNode, RouteSetId
from celadon.domain.publication import Publication
from celadon.gateway.load_reports import (
    DrainLoad,
    LoadReport,
    ReportingPlan,
    draining_clusters,
    fold,
    plan,
    zeros_count,
)

REPEAT_SECONDS: Final = 1.0
"""How often what has not changed is told again, so that a reader sees that it is still so."""


@dataclass(slots=True)
class _DrainingSet:
    epoch: Epoch
    """The first epoch at which it was draining: a router that serves this one sends the set nothing new."""
    clusters: frozenset[str]


@dataclass(slots=True)
class _SetOnRouter:
    acknowledged_at: float
    load: DrainLoad | None = None
    told: DrainLoad | None = None
    told_at: float = 0.0

    def has_news(self, at: float) -> bool:
        return self.load is not None and (self.load != self.told or at - self.told_at >= REPEAT_SECONDS)


@dataclass(slots=True)
class _Router:
    sets: dict[RouteSetId, _SetOnRouter] = field(default_factory=dict)
    """Sets that it serves as draining."""
    blind: set[RouteSetId] = field(default_factory=set)
    """Sets whose running requests it no longer counts, because their cluster was replaced under them."""


class Drains:
    """Which sets drain, and how far each is on each router. Moments are seconds of one monotonic clock."""

    def __init__(self) -> None:
        """Begin with nothing that drains."""
        self._draining: dict[RouteSetId, _DrainingSet] = {}
        self._draining_of: dict[DeploymentName, frozenset[RouteSetId]] = {}
        self._sets_of: dict[DeploymentName, frozenset[RouteSetId]] = {}
        self._routers: defaultdict[RouterNode, _Router] = defaultdict(_Router)

    def publish(self, publication: Publication) -> None:
        """Take a deployment's publication, before any router can acknowledge it."""
        found = draining_clusters(publication)
        members = frozenset(one.route_set for one in (*publication.endpoints, *publication.preview))
        self._replace(publication.deployment, frozenset(found), members)
        for route_set, clusters in found.items():
            known = self._draining.setdefault(route_set, _DrainingSet(publication.epoch, clusters))
            known.clusters = clusters

    def withdraw(self, deployment: DeploymentName) -> None:
        """Forget a deployment."""
        self._replace(deployment, frozenset(), frozenset())

    def acknowledge(self, node: RouterNode, epochs: Mapping[DeploymentName, Epoch], at: float) -> None:
        """Take a router's acknowledgements: from here on its requests to draining sets only become fewer."""
        router = self._routers[node]
        for deployment, epoch in epochs.items():
            for route_set in self._draining_of.get(deployment, frozenset()):
                if epoch >= self._draining[route_set].epoch and route_set not in router.blind:
                    router.sets.setdefault(route_set, _SetOnRouter(at))

    def lose_count(self, node: RouterNode, deployment: DeploymentName) -> None:
        """Take no zero of this router for sets that the deployment has now: it was sent a changed cluster."""
        router = self._routers[node]
        for route_set in self._sets_of.get(deployment, frozenset()):
            router.blind.add(route_set)
            router.sets.pop(route_set, None)

    def disconnect(self, node: RouterNode) -> None:
        """Forget what a router serves; it acknowledges anew when it is back."""
        self._routers[node].sets.clear()

    def stop_reports(self, node: RouterNode) -> None:
        """Forget what a router reported: without reports its load is unknown."""
        for state in self._routers[node].sets.values():
            state.load = None

    def report(self, node: RouterNode, report: LoadReport, at: float) -> dict[RouteSetId, DrainLoad]:
        """Take a router's report; return the loads that are to be told now."""
        news: dict[RouteSetId, DrainLoad] = {}
        for route_set, state in self._routers[node].sets.items():
            state.load = fold(
                state.load,
                report,
                route_set,
                self._draining[route_set].clusters,
                counts=zeros_count(at, state.acknowledged_at),
            )
            if state.load is not None and state.has_news(at):
                state.told, state.told_at = state.load, at
                news[route_set] = state.load
        return news

    def plan(self, node: RouterNode) -> ReportingPlan:
        """Return what to ask of a router now."""
        sets = self._routers[node].sets
        return plan((state.load, self._draining[route_set].clusters) for route_set, state in sets.items())

    def _replace(
        self,
        deployment: DeploymentName,
        draining: frozenset[RouteSetId],
        members: frozenset[RouteSetId],
    ) -> None:
        """Remember a deployment's sets, and forget those that it no longer has."""
        for route_set in self._draining_of.pop(deployment, frozenset()) - draining:
            del self._draining[route_set]
            for router in self._routers.values():
                router.sets.pop(route_set, None)
        for route_set in self._sets_of.pop(deployment, frozenset()) - members:
            for router in self._routers.values():
                router.blind.discard(route_set)
        if members:
            self._draining_of[deployment], self._sets_of[deployment] = draining, members
