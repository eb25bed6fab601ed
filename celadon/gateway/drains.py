"""What drains on each router: since when the router serves it as draining, and what its load reports say.

Whole sets drain, and so do single members that leave a set which stays.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from celadon.domain.decisions.publication import Publication
from celadon.domain.language.names import DeploymentName, Epoch, RouterNode, RouteSetId
from celadon.gateway.load_reports import (
    Drainee,
    DrainLoad,
    LoadReport,
    ReportingPlan,
    draining_clusters,
    fold,
    leaving_clusters,
    plan,
    route_set_of_drainee,
    zeros_count,
)

REPEAT_SECONDS: Final = 1.0
"""How often what has not changed is told again, so that a reader sees that it is still so."""


@dataclass(slots=True)
class _Drain:
    epoch: Epoch
    """The first epoch at which it was draining: a router that serves this one sends it nothing new."""
    clusters: frozenset[str]
    published: Epoch
    """The newest epoch at which it was."""


@dataclass(slots=True)
class _DrainOnRouter:
    acknowledged_at: float
    load: DrainLoad | None = None
    told: DrainLoad | None = None
    told_at: float = 0.0

    def has_news(self, at: float) -> bool:
        return self.load is not None and (self.load != self.told or at - self.told_at >= REPEAT_SECONDS)


@dataclass(slots=True)
class _Router:
    drains: dict[Drainee, _DrainOnRouter] = field(default_factory=dict)
    """What it serves as draining."""
    blind: set[RouteSetId] = field(default_factory=set)
    """Sets whose running requests it no longer counts, because their cluster was replaced under them."""


class Drains:
    """What drains, and how far it is on each router. Moments are seconds of one monotonic clock."""

    def __init__(self) -> None:
        """Begin with nothing that drains."""
        self._draining: dict[Drainee, _Drain] = {}
        self._draining_of: dict[DeploymentName, frozenset[Drainee]] = {}
        self._sets_of: dict[DeploymentName, frozenset[RouteSetId]] = {}
        self._routers: defaultdict[RouterNode, _Router] = defaultdict(_Router)

    def publish(self, publication: Publication) -> None:
        """Take a deployment's publication, before any router can acknowledge it."""
        sets, leavers = draining_clusters(publication), leaving_clusters(publication)
        members = frozenset(one.route_set for one in (*publication.endpoints, *publication.preview))
        self._replace(publication.deployment, frozenset(sets) | frozenset(leavers), members)
        for route_set, clusters in sets.items():
            self._drain(route_set, clusters, publication.epoch)
        for leaver, clusters in leavers.items():
            self._drain(leaver, clusters, leaver.epoch)

    def _drain(self, drainee: Drainee, clusters: frozenset[str], epoch: Epoch) -> None:
        drain = self._draining.setdefault(drainee, _Drain(epoch, clusters, epoch))
        drain.clusters, drain.published = clusters, epoch

    def withdraw(self, deployment: DeploymentName) -> None:
        """Forget a deployment."""
        self._replace(deployment, frozenset(), frozenset())

    def acknowledge(self, node: RouterNode, epochs: Mapping[DeploymentName, Epoch], at: float) -> None:
        """Take a router's acknowledgements: from here on its requests to what drains only become fewer."""
        router = self._routers[node]
        for deployment, epoch in epochs.items():
            for drainee in self._draining_of.get(deployment, frozenset()):
                if epoch >= self._draining[drainee].epoch and route_set_of_drainee(drainee) not in router.blind:
                    router.drains.setdefault(drainee, _DrainOnRouter(at))

    def lose_count(self, node: RouterNode, deployment: DeploymentName) -> None:
        """Take no zero of this router for sets that the deployment has now: it was sent a changed cluster."""
        router = self._routers[node]
        router.blind |= self._sets_of.get(deployment, frozenset())
        for drainee in [one for one in router.drains if route_set_of_drainee(one) in router.blind]:
            del router.drains[drainee]

    def disconnect(self, node: RouterNode) -> None:
        """Forget what a router serves; it acknowledges anew when it is back."""
        router = self._routers.get(node)
        if router is None:
            return
        router.drains.clear()
        if not router.blind:
            del self._routers[node]

    def stop_reports(self, node: RouterNode) -> None:
        """Forget what a router reported: without reports its load is unknown."""
        for state in self._drains_on(node).values():
            state.load = None

    def report(self, node: RouterNode, report: LoadReport, at: float) -> dict[Drainee, DrainLoad]:
        """Take a router's report; return the loads that are to be told now."""
        news: dict[Drainee, DrainLoad] = {}
        for drainee, state in self._drains_on(node).items():
            state.load = fold(
                state.load,
                report,
                drainee,
                self._draining[drainee].clusters,
                counts=zeros_count(at, state.acknowledged_at),
            )
            if state.load is not None and state.has_news(at):
                state.told, state.told_at = state.load, at
                news[drainee] = state.load
        return news

    def epoch_of(self, drainee: Drainee) -> Epoch:
        """Return the epoch that what is counted now counts for: a member's departure, or a set's publication."""
        return self._draining[drainee].published

    def plan(self, node: RouterNode) -> ReportingPlan:
        """Return what to ask of a router now."""
        drains = self._drains_on(node)
        return plan((drainee, state.load) for drainee, state in drains.items())

    def _drains_on(self, node: RouterNode) -> Mapping[Drainee, _DrainOnRouter]:
        """Return what a router serves as draining; reports of one that is not connected leave nothing behind."""
        router = self._routers.get(node)
        return {} if router is None else router.drains

    def _replace(
        self,
        deployment: DeploymentName,
        draining: frozenset[Drainee],
        members: frozenset[RouteSetId],
    ) -> None:
        """Remember what a deployment has, and forget what it no longer has."""
        for drainee in self._draining_of.pop(deployment, frozenset()) - draining:
            del self._draining[drainee]
            for router in self._routers.values():
                router.drains.pop(drainee, None)
        for route_set in self._sets_of.pop(deployment, frozenset()) - members:
            for router in self._routers.values():
                router.blind.discard(route_set)
        if members:
            self._draining_of[deployment], self._sets_of[deployment] = draining, members
