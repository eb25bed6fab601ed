"""All that routers are to be told now: one object a process, changed one deployment at a time.

Each deployment's resources are built when it changes and kept serialised, so that a switch costs the same beside one
deployment and beside a thousand. Route configurations are put together when somebody asks for them after deployments
came or went or got other host names, of parts that are kept for each deployment; so however many came meanwhile, they
are put together once, and so are the limits of deployments. A deployment that is being deleted loses its route first,
and keeps its clusters until its replicas have drained.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from celadon.domain.decisions.publication import Publication
from celadon.domain.language.names import DeploymentName
from celadon.gateway.hosts import HostClaims, LeftOut
from celadon.gateway.limits import NO_LIMITS, Limits, limits_of, runtime_layer
from celadon.gateway.own_listeners import OwnListeners
from celadon.gateway.resources import DeploymentResources, Resource, ResourceType, deployment_resources
from celadon.gateway.routing import DeploymentRoutes, Routing


@dataclass(frozen=True, slots=True)
class Routes:
    """The route configurations, and what they have of each deployment that they lead to."""

    resources: dict[str, Resource]
    deployments: Mapping[DeploymentName, DeploymentRoutes]


@dataclass(frozen=True, slots=True)
class RuntimeLayer:
    """The layer of Envoy's runtime, and what it has of each deployment that has other limits than the default."""

    resources: dict[str, Resource]
    deployments: Mapping[DeploymentName, Limits]


class Snapshot:
    """The resources of every type, by name."""

    def __init__(self, routing: Routing) -> None:
        """Begin without deployments."""
        self._routing = routing
        self._deployments: dict[DeploymentName, DeploymentResources] = {}
        self._clusters: dict[str, Resource] = {}
        self._assignments: dict[str, Resource] = {}
        self._routed: dict[DeploymentName, DeploymentRoutes] = {}
        """The parts of the route configurations, of deployments to which a route leads."""
        self._hosts = HostClaims(routing.domains)
        self._routes: Routes | None = None
        self._limited: dict[DeploymentName, Limits] = {}
        """The limits of deployments that have others than the default."""
        self._runtime: RuntimeLayer | None = None

    @property
    def routes(self) -> Routes:
        """The route configurations to all deployments."""
        if self._routes is None:
            parts = (routes for _, routes in sorted(self._routed.items(), key=lambda one: one[0]))
            self._routes = Routes(self._routing.route_configurations(parts), dict(self._routed))
        return self._routes

    def routes_to(self, name: DeploymentName) -> DeploymentRoutes | None:
        """Return what the route configurations have of a deployment; ``None`` when no route leads to it."""
        return self._routed.get(name)

    @property
    def runtime(self) -> RuntimeLayer:
        """The limits of all deployments."""
        if self._runtime is None:
            layer = runtime_layer(self._limited.values())
            self._runtime = RuntimeLayer({layer.name: layer}, dict(self._limited))
        return self._runtime

    def limits_of(self, name: DeploymentName) -> Limits:
        """Return the limits of a deployment; none when it has the default, or there is no such deployment."""
        return self._limited.get(name, NO_LIMITS)

    @property
    def hosts_left_out(self) -> Mapping[str, LeftOut]:
        """Host names that deployments have claimed, and that are the addresses of others by their names."""
        return self._hosts.left_out

    @property
    def route_names(self) -> frozenset[str]:
        """The names of the route configurations, which are not put together for that."""
        return self._routing.route_names

    def listeners(self, own: OwnListeners) -> dict[str, Resource]:
        """Return the listeners of a router by name."""
        return self._routing.listeners_with(own) if own else self._routing.listeners

    def deployment(self, name: DeploymentName) -> DeploymentResources | None:
        """Return a deployment's resources, or ``None`` when there is no such deployment."""
        return self._deployments.get(name)

    def clusters_of(self, name: DeploymentName) -> set[str]:
        """Return the names of a deployment's clusters; none when there is no such deployment."""
        resources = self._deployments.get(name)
        return set() if resources is None else {one.name for one in resources.clusters}

    def of(self, kind: ResourceType) -> dict[str, Resource]:
        """Return the resources of one type by name; not to be changed."""
        match kind:
            case ResourceType.RUNTIME:
                return self.runtime.resources
            case ResourceType.CLUSTER:
                return self._clusters
            case ResourceType.ENDPOINTS:
                return self._assignments
            case ResourceType.LISTENER:
                return self._routing.listeners
            case ResourceType.ROUTES:
                return self.routes.resources

    def publish(self, publication: Publication) -> bool:
        """Put a publication in place of its deployment's last one; tell whether routes or clusters changed."""
        resources = deployment_resources(publication)
        name, known = resources.deployment, self._deployments.get(publication.deployment)
        hosts = None if resources.leads is None else publication.hosts
        self._deployments[name] = resources
        clusters = {one.name: one for one in resources.clusters}
        gone = set() if known is None else {one.name for one in known.clusters} - clusters.keys()
        for cluster in gone:
            del self._clusters[cluster]
            del self._assignments[cluster]
        self._clusters.update(clusters)
        self._limit(name, limits_of(clusters, resources.max_requests))
        self._assignments.update({one.name: one for one in resources.assignments})
        if known is None or _goes_another_way(known, resources) or self._hosts.claimed_by(name) != hosts:
            self._route(name, hosts)
            return True
        return known.clusters != resources.clusters

    def withdraw(self, name: DeploymentName) -> bool:
        """Forget a deployment; tell whether it was there."""
        resources = self._deployments.pop(name, None)
        if resources is None:
            return False
        for cluster in resources.clusters:
            del self._clusters[cluster.name]
            del self._assignments[cluster.name]
        self._limit(name, NO_LIMITS)
        self._route(name, None)
        return True

    def _limit(self, name: DeploymentName, limits: Limits) -> None:
        """Let a deployment have other limits, or with none the default."""
        if limits == self.limits_of(name):
            return
        if limits:
            self._limited[name] = limits
        else:
            del self._limited[name]
        self._runtime = None

    def _route(self, name: DeploymentName, hosts: tuple[str, ...] | None) -> None:
        """Let routes lead to a deployment by its name and hosts of its own, or, without any of both, none."""
        for concerned in {name, *self._hosts.claim(name, hosts)}:
            own, resources = self._hosts.claimed_by(concerned), self._deployments.get(concerned)
            if own is None or resources is None or resources.leads is None:
                self._routed.pop(concerned, None)
            else:
                self._routed[concerned] = self._routing.routes_to(
                    concerned, resources.leads, self._hosts.of(concerned), resources.handling
                )
        self._routes = None


def _goes_another_way(before: DeploymentResources, after: DeploymentResources) -> bool:
    """Whether the routes to a deployment are others than before, its hosts aside."""
    return (before.leads, before.handling) != (after.leads, after.handling)
