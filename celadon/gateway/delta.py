"""Incremental discovery with one router: what it wants, what it was sent, what it serves.

No input or output here: requests and changes of the snapshot go in, responses and acknowledged epochs come out.

At most one response of a type waits for its answer. What changes meanwhile is collected and only its newest state is
sent, so a slow router skips epochs instead of queueing them. Types are ordered so that nothing is ever addressed before
it is there: clusters and endpoints, then, once those are acknowledged, the routes to them; the other way round when a
deployment goes: endpoints of one that is being deleted change only once the router has no route to it any more, so that
a request finds either a replica or no route at all. Limits of requests come first, and nothing waits for them.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from celadon.domain.decisions.enrolment import MAX_REFUSAL_BYTES, bounded
from celadon.domain.language.names import DeploymentName, Epoch
from celadon.gateway.bootstrap import RUNTIME_LAYER
from celadon.gateway.discovery import DiscoveryRequest, DiscoveryResponse
from celadon.gateway.limits import NO_LIMITS, Limits
from celadon.gateway.own_listeners import AS_ALL_OTHERS, OwnListeners
from celadon.gateway.resources import DeploymentResources, Resource, ResourceType, deployment_of
from celadon.gateway.routing import LIVE, DeploymentRoutes
from celadon.gateway.snapshot import Snapshot

WILDCARD: Final = "*"


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A response that waits for its answer, and what it will mean when it is accepted."""

    nonce: str
    versions: Mapping[str, str]
    deployments: tuple[DeploymentResources, ...]
    """Whose endpoints it has, at which epoch."""
    routed: Mapping[DeploymentName, DeploymentRoutes]
    """To which deployments its routes lead, and by what."""
    limited: Mapping[DeploymentName, Limits]
    """The limits that it has."""


@dataclass(slots=True)
class _StreamSubscription:
    """One type on one stream."""

    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    """The version of each resource that the router was told last, whatever it said of it."""
    held: dict[str, str] = field(default_factory=dict)
    """The version of each resource that the router has accepted."""
    due: set[str] = field(default_factory=set)
    """Names that may have changed since they were sent."""
    alone: deque[str] = field(default_factory=deque)
    """Names of a refused response that had several: each is sent again alone, so that one bad one stops no other."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why the router refuses a resource."""
    in_flight: _Delivery | None = None
    answered: bool = False
    """Whether the router waits no longer: a new one starts its listeners only after the first answer, be it empty."""

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def change(self, request: DiscoveryRequest, known: Mapping[str, str]) -> None:
        """Take over what a request adds and ends; what is asked for is sent unless the router holds it ``known``."""
        for name in request.subscribe:
            self.names.add(name)
            self.due.add(name)
            if name not in known:
                self.sent.pop(name, None)
        for name in request.unsubscribe:
            self.names.discard(name)
            if not self.wildcard:
                self.forget(name)

    def forget(self, name: str) -> None:
        for versions in (self.sent, self.held, self.refused):
            versions.pop(name, None)
        self.due.discard(name)

    def tell_again(self, names: Iterable[str]) -> None:
        """Send resources although the router holds them."""
        for name in names:
            if self.wants(name):
                self.sent.pop(name, None)
                self.due.add(name)

    def settled(self, resources: Mapping[str, Resource]) -> bool:
        """Whether the router has answered to the newest version of all that exists."""
        return self.in_flight is None and not any(
            name in resources and self.wants(name) and self.sent.get(name) != resources[name].version
            for name in self.due
        )


class DeltaStream:
    """The state of one aggregated, incremental stream."""

    def __init__(self, snapshot: Snapshot, own: OwnListeners = AS_ALL_OTHERS) -> None:
        """Begin with a router that has said nothing yet, but what its listeners have of their own."""
        self._snapshot = snapshot
        self._listeners = snapshot.listeners(own)
        self._subscriptions: dict[ResourceType, _StreamSubscription] = {}
        self._nonces = count(1)
        self._routed: Mapping[DeploymentName, DeploymentRoutes] | None = None
        """To which deployments the router's routes lead, and by what; not known before it has accepted some on this
        stream."""
        self._limited: Mapping[DeploymentName, Limits] = {}
        """The limits that the router has accepted on this stream."""
        self._served: dict[DeploymentName, Epoch] = {}
        """The epoch whose endpoints the router serves, whether or not it has a route to them yet."""
        self._acknowledged: dict[DeploymentName, Epoch] = {}
        self._news: dict[DeploymentName, Epoch] = {}
        self._replaced_clusters: set[str] = set()
        self._cold: set[str] = set()
        """Clusters that were replaced before the router has asked for endpoints on this stream."""

    # What happens to the stream

    def receive(self, request: DiscoveryRequest) -> None:
        """Take a request: changed subscriptions, an answer, or both. A type that is not served is ignored."""
        try:
            kind = ResourceType(request.kind)
        except ValueError:
            return
        subscription = self._subscriptions.get(kind)
        known: Mapping[str, str] = {}
        if subscription is None:
            known = request.initial_versions
            subscription = self._subscriptions[kind] = self._subscribed(kind, request)
        subscription.change(request, known)
        delivery = subscription.in_flight
        if delivery is not None and request.nonce == delivery.nonce:
            subscription.in_flight = None
            if request.refusal is None:
                self._accepted(kind, subscription, delivery)
            else:
                self._refused(subscription, delivery, request.refusal)
        elif known:
            if kind is ResourceType.ENDPOINTS:
                subscription.tell_again(self._cold)
            self._recognise(kind)

    def deployment_changed(self, name: DeploymentName) -> None:
        """Note that the snapshot has another publication of a deployment, or none any more."""
        self._mark(ResourceType.RUNTIME, (RUNTIME_LAYER,))
        resources = self._snapshot.deployment(name)
        if resources is None:
            for state in (self._served, self._acknowledged, self._news):
                state.pop(name, None)
        else:
            self._mark(ResourceType.ENDPOINTS, (one.name for one in resources.assignments))
            self._serves(resources)

    def deployments_changed(self, clusters: Iterable[str]) -> None:
        """Note that deployments with these clusters came, went or got other hosts, and with them the routes."""
        self._mark(ResourceType.CLUSTER, clusters)
        self._mark(ResourceType.ROUTES, self._snapshot.route_names)

    # What comes of it

    def responses(self) -> list[DiscoveryResponse]:
        """Return what can be sent now, in the order in which it must be sent."""
        responses = []
        for kind in ResourceType:
            subscription = self._subscriptions.get(kind)
            if subscription is not None and subscription.in_flight is None and self._is_turn_of(kind):
                response = self._next(kind, subscription)
                if response is not None:
                    responses.append(response)
        return responses

    def take_acknowledged(self) -> dict[DeploymentName, Epoch]:
        """Return, once, the epochs that the router serves since it was last asked."""
        news, self._news = self._news, {}
        return news

    def take_replaced_clusters(self) -> set[str]:
        """Return, once, clusters that the router held and was sent anew: it forgets the requests counted there."""
        replaced, self._replaced_clusters = self._replaced_clusters, set()
        return replaced

    @property
    def refusal(self) -> str | None:
        """What the router refuses now and why, or ``None`` when it accepts all that it was sent."""
        refusals = [
            f"{kind.message} {name!r}: {why}"
            for kind, subscription in self._subscriptions.items()
            for name, why in sorted(subscription.refused.items())
        ]
        return bounded("\n".join(refusals), MAX_REFUSAL_BYTES) or None

    # How

    def _resources(self, kind: ResourceType) -> dict[str, Resource]:
        return self._listeners if kind is ResourceType.LISTENER else self._snapshot.of(kind)

    def _subscribed(self, kind: ResourceType, request: DiscoveryRequest) -> _StreamSubscription:
        """Return the subscription of a first request, in which a router tells what it holds from before."""
        versions = dict(request.initial_versions)
        wildcard = not request.subscribe or WILDCARD in request.subscribe
        every = set(self._resources(kind)) if wildcard else set()
        return _StreamSubscription(
            wildcard=wildcard,
            sent=versions,
            held=dict(versions),
            due=every | set(versions),
            answered=bool(versions),
        )

    def _mark(self, kind: ResourceType, names: Iterable[str]) -> None:
        subscription = self._subscriptions.get(kind)
        if subscription is not None:
            subscription.due.update(name for name in names if subscription.wants(name))

    def _is_turn_of(self, kind: ResourceType) -> bool:
        """Routes wait until every cluster that they name is there, warm and acknowledged."""
        return kind is not ResourceType.ROUTES or self._is_settled(ResourceType.CLUSTER)

    def _is_settled(self, kind: ResourceType) -> bool:
        subscription = self._subscriptions.get(kind)
        return subscription is None or subscription.settled(self._resources(kind))

    def _next(self, kind: ResourceType, subscription: _StreamSubscription) -> DiscoveryResponse | None:
        """Return the next response of a type and remember it, or ``None`` when the router knows all."""
        while subscription.alone:
            response = self._compose(kind, subscription, [subscription.alone.popleft()])
            if response is not None:
                return response
        return self._compose(kind, subscription, sorted(subscription.due))

    def _compose(
        self,
        kind: ResourceType,
        subscription: _StreamSubscription,
        names: Iterable[str],
    ) -> DiscoveryResponse | None:
        """Return a response about those of the names that the router must hear of now."""
        resources = self._resources(kind)
        changed: list[Resource] = []
        removed: list[str] = []
        for name in names:
            if kind is ResourceType.ENDPOINTS and name in subscription.sent and self._may_be_routed_to(name):
                continue
            if name in resources:
                subscription.due.discard(name)
                if subscription.wants(name) and subscription.sent.get(name) != resources[name].version:
                    changed.append(resources[name])
            elif kind is not ResourceType.CLUSTER or self._is_settled(ResourceType.ROUTES):
                if name in subscription.sent or name in subscription.names - {WILDCARD}:
                    removed.append(name)
                subscription.forget(name)
        if not changed and not removed and (subscription.answered or not subscription.wildcard):
            return None
        if kind is ResourceType.CLUSTER:
            self._warm_again(subscription, changed)
        return self._send(kind, subscription, tuple(changed), tuple(removed))

    def _may_be_routed_to(self, cluster: str) -> bool:
        """Whether the router may still have a route to a deployment that is to have none."""
        name = deployment_of(cluster)
        resources = self._snapshot.deployment(name)
        return resources is not None and resources.leads is None and (self._routed is None or name in self._routed)

    def _warm_again(self, clusters: _StreamSubscription, changed: Iterable[Resource]) -> None:
        """Send the endpoints of changed clusters again: Envoy waits for them, but does not ask."""
        replaced = {cluster.name for cluster in changed if cluster.name in clusters.held}
        self._replaced_clusters |= replaced
        endpoints = self._subscriptions.get(ResourceType.ENDPOINTS)
        if endpoints is None:
            self._cold |= replaced
        else:
            endpoints.tell_again(replaced)

    def _send(
        self,
        kind: ResourceType,
        subscription: _StreamSubscription,
        changed: tuple[Resource, ...],
        removed: tuple[str, ...],
    ) -> DiscoveryResponse:
        versions = {one.name: one.version for one in changed}
        subscription.answered = True
        subscription.sent.update(versions)
        deployments: tuple[DeploymentResources, ...] = ()
        if kind is ResourceType.ENDPOINTS:
            current = (self._snapshot.deployment(name) for name in {deployment_of(one.name) for one in changed})
            deployments = tuple(one for one in current if one is not None)
        subscription.in_flight = _Delivery(
            nonce=str(next(self._nonces)),
            versions=versions,
            deployments=deployments,
            routed=self._snapshot.routes.deployments if kind is ResourceType.ROUTES else {},
            limited=self._snapshot.runtime.deployments if kind is ResourceType.RUNTIME else {},
        )
        return DiscoveryResponse(kind, subscription.in_flight.nonce, changed, removed)

    def _accepted(self, kind: ResourceType, subscription: _StreamSubscription, delivery: _Delivery) -> None:
        for name, version in delivery.versions.items():
            if subscription.wants(name):
                subscription.held[name] = version
                subscription.refused.pop(name, None)
        for resources in delivery.deployments:
            self._serves(resources)
        if kind is ResourceType.ROUTES and LIVE in delivery.versions:
            self._has_routes(delivery.routed)
        elif kind is ResourceType.RUNTIME and RUNTIME_LAYER in delivery.versions:
            self._has_limits(delivery.limited)

    @staticmethod
    def _refused(subscription: _StreamSubscription, delivery: _Delivery, why: str) -> None:
        """Keep why one resource is refused; of several, find out which by sending each alone."""
        if len(delivery.versions) == 1:
            subscription.refused.update(dict.fromkeys(delivery.versions, why))
            return
        for name in delivery.versions:
            subscription.sent.pop(name, None)
            subscription.due.add(name)
            subscription.alone.append(name)

    def _recognise(self, kind: ResourceType) -> None:
        """Acknowledge at once what a router that reconnects holds already."""
        if kind is ResourceType.ENDPOINTS:
            names = {deployment_of(name) for name in self._subscriptions[kind].held}
            for resources in map(self._snapshot.deployment, names):
                if resources is not None:
                    self._serves(resources)
        elif kind is ResourceType.ROUTES:
            routes = self._snapshot.routes
            if self._subscriptions[kind].held.get(LIVE) == routes.resources[LIVE].version:
                self._has_routes(routes.deployments)
        elif kind is ResourceType.RUNTIME:
            runtime = self._snapshot.runtime
            if self._subscriptions[kind].held.get(RUNTIME_LAYER) == runtime.resources[RUNTIME_LAYER].version:
                self._has_limits(runtime.deployments)

    def _has_routes(self, deployments: Mapping[DeploymentName, DeploymentRoutes]) -> None:
        self._routed = deployments
        self._acknowledge_all()

    def _has_limits(self, deployments: Mapping[DeploymentName, Limits]) -> None:
        self._limited = deployments
        self._acknowledge_all()

    def _acknowledge_all(self) -> None:
        for name, epoch in self._served.items():
            self._acknowledge(name, epoch)

    def _serves(self, resources: DeploymentResources) -> None:
        """Acknowledge a deployment's epoch if the router was told its endpoints last and has accepted them."""
        subscription = self._subscriptions.get(ResourceType.ENDPOINTS)
        if subscription is None:
            return
        if all(
            subscription.sent.get(one.name) == subscription.held.get(one.name) == one.version
            for one in resources.assignments
        ):
            self._served[resources.deployment] = resources.epoch
            self._acknowledge(resources.deployment, resources.epoch)

    def _acknowledge(self, name: DeploymentName, epoch: Epoch) -> None:
        """Acknowledge an epoch once the router has the deployment's limits, and its routes by all hosts, or none."""
        if self._routed is None or self._snapshot.deployment(name) is None:
            return
        if self._routed.get(name) != self._snapshot.routes_to(name) or not self._keeps_limits_of(name):
            return
        if self._acknowledged.get(name, -1) < epoch:
            self._acknowledged[name] = self._news[name] = epoch

    def _keeps_limits_of(self, name: DeploymentName) -> bool:
        """Whether the router has a deployment's limits, or never asked for any: its bootstrap is an older one."""
        if ResourceType.RUNTIME not in self._subscriptions:
            return True
        return self._limited.get(name, NO_LIMITS) == self._snapshot.limits_of(name)
