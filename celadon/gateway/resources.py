"""From a publication to what routers are sent: Envoy's resources, named, versioned by content and serialised once.

A cluster changes only where the limit on its streams does (a changed cluster makes Envoy forget the requests that it
counts), and a switch is one endpoint update for each cluster. The route set is the locality, so that load is reported
per set; what runs on a set is still counted when it comes to another priority.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from itertools import groupby
from typing import Final

from celadon.domain.decisions.publication import Destination, Endpoint, EndpointState, Publication
from celadon.domain.language.names import PREVIEW_SUFFIX, DeploymentName, Epoch, RouteSetId
from celadon.domain.language.sizes import bytes_of
from celadon.domain.language.traffic import DEFAULT_MAX_REQUESTS, DEFAULT_RETRIES, TrafficSettings
from celadon.gateway.protobuf import TYPE_URL_PREFIX, Fields, Value, pack, serialise

CONNECT_TIMEOUT: Final = timedelta(seconds=1)
"""How long a router waits for a replica's port; it also bounds how long a request can wait uncounted for it."""

UPSTREAM_IDLE_TIMEOUT: Final = timedelta(seconds=4)
"""When a router closes an idle connection: before the server does (5 s is the shortest default in common use)."""

NO_DEADLINE: Final = timedelta(0)
"""In place of Envoy's deadline for a whole answer (15 s), which would cut streams."""

UNLIMITED: Final = 1_000_000
"""In place of Envoy's circuit breakers (1,024 connections, 3 retries), which streams reach in ordinary use.

What bounds a deployment is its requests; how many those are is :mod:`celadon.gateway.limits`.
"""

BUFFER_BYTES: Final = 64 << 10
"""How much a router keeps of one connection whose other side reads slowly, in place of Envoy's 1 MiB."""

OVERPROVISIONING: Final = 100 * 10_000
"""So many percent: one healthy endpoint of 10,000 is enough for its priority to get all requests."""

GRPC_SUFFIX: Final = ".grpc"
"""Of clusters for gRPC; no deployment's own name has a dot."""

HASHED_SUFFIX: Final = "~maglev"
"""Of clusters that balance by what requests say.

A cluster's name says how it balances: a changed cluster would make routers forget the requests that they count.
"""

HASH_TABLE_SIZE: Final = 16_381
"""Of each such cluster, in place of Envoy's 65,537 entries; a prime, as Maglev needs it."""

LOCALITY_PREFIX: Final = "set-"
VERSION_DIGITS: Final = 16
CACHED_CLUSTERS: Final = 4096

ADS: Final[Fields] = {"ads": {}, "resource_api_version": "V3"}

HEALTH_STATUS: Final = {
    EndpointState.HEALTHY: "HEALTHY",
    EndpointState.UNHEALTHY: "UNHEALTHY",
    EndpointState.DRAINING: "DRAINING",
}


class ResourceType(StrEnum):
    """The types that the gateway serves, in the order in which a router must learn of them."""

    RUNTIME = TYPE_URL_PREFIX + "envoy.service.runtime.v3.Runtime"
    CLUSTER = TYPE_URL_PREFIX + "envoy.config.cluster.v3.Cluster"
    ENDPOINTS = TYPE_URL_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = TYPE_URL_PREFIX + "envoy.config.listener.v3.Listener"
    ROUTES = TYPE_URL_PREFIX + "envoy.config.route.v3.RouteConfiguration"

    @property
    def message(self) -> str:
        """The full name of the message."""
        return self.value.removeprefix(TYPE_URL_PREFIX)


@dataclass(frozen=True, slots=True)
class Resource:
    """One named resource at one version, ready for the wire."""

    name: str
    version: str
    """A digest of the content: a router that reconnects, or a gateway that restarts, recognises it."""
    wire: bytes
    """A serialised ``DeltaDiscoveryResponse`` with this resource alone; joined, they make a response with all."""


def resource(kind: ResourceType, name: str, body: bytes) -> Resource:
    """Return the resource whose serialised message is ``body``."""
    version = sha256(body).hexdigest()[:VERSION_DIGITS]
    packed: Fields = {"type_url": kind.value, "value": body}
    entry: Fields = {"name": name, "version": version, "resource": packed}
    return Resource(
        name, version, serialise("envoy.service.discovery.v3.DeltaDiscoveryResponse", {"resources": [entry]})
    )


@dataclass(frozen=True, slots=True)
class Leads:
    """Which requests the routes to a deployment lead to its replicas; routers answer all others themselves."""

    http: bool = True
    """All but those of gRPC."""
    grpc: bool = False


@dataclass(frozen=True, slots=True)
class Handling:
    """What the routes to a deployment do with its requests."""

    max_body: int | None = None
    """How many bytes the body of a request may say that it has; ``None`` for any number."""
    idle_timeout: timedelta | None = None
    """How long a request may pass without a byte either way; ``None`` for as long as the listener says."""
    retries: int = DEFAULT_RETRIES
    """How often a request is tried again that no replica can have begun."""
    hash_header: str | None = None
    """The header by which requests are balanced; ``None`` when they are not."""
    deadline: timedelta = NO_DEADLINE
    """How long a whole answer may take; zero means for ever, or as long as a client of gRPC says."""

    @classmethod
    def of(cls, settings: TrafficSettings) -> "Handling":
        """Return what a deployment's settings ask of its routes."""
        return cls(
            max_body=None if settings.max_body is None else bytes_of(settings.max_body),
            idle_timeout=settings.idle_timeout,
            retries=DEFAULT_RETRIES if settings.retries is None else settings.retries,
            hash_header=settings.hash_header,
        )


AS_USUAL: Final = Handling()


@dataclass(frozen=True, slots=True)
class DeploymentResources:
    """What routers are sent of one deployment at one epoch."""

    deployment: DeploymentName
    epoch: Epoch
    clusters: tuple[Resource, ...]
    assignments: tuple[Resource, ...]
    """The endpoints of the clusters, in their order."""
    leads: Leads | None
    """What routes lead to it; ``None`` for none."""
    handling: Handling = AS_USUAL
    """What those routes do with requests."""
    max_requests: int | None = None
    """How many may run in each of its clusters; ``None`` for the default."""


def cluster_name(deployment: DeploymentName, destination: Destination) -> str:
    """Return the name of the cluster that is a destination of a deployment's requests."""
    preview = PREVIEW_SUFFIX if destination.is_preview else ""
    hashed = HASHED_SUFFIX if destination.is_hashed else ""
    return f"{deployment}{preview}{hashed}{GRPC_SUFFIX if destination.is_grpc else ''}"


def is_preview(cluster: str) -> bool:
    """Whether a cluster holds green alone; no deployment's own name ends like that."""
    return cluster.removesuffix(GRPC_SUFFIX).removesuffix(HASHED_SUFFIX).endswith(PREVIEW_SUFFIX)


def deployment_of(cluster: str) -> DeploymentName:
    """Return the deployment that a cluster belongs to."""
    return cluster.removesuffix(GRPC_SUFFIX).removesuffix(HASHED_SUFFIX).removesuffix(PREVIEW_SUFFIX)


def deployment_resources(publication: Publication) -> DeploymentResources:
    """Return the clusters and endpoints of a publication."""
    destinations = publication.destinations
    names = {destination: cluster_name(publication.deployment, destination) for destination in destinations}
    return DeploymentResources(
        deployment=publication.deployment,
        epoch=publication.epoch,
        clusters=tuple(
            cluster(
                names[one],
                grpc_streams=publication.grpc_streams if one.is_grpc else None,
                hashed=one.is_hashed,
            )
            for one in destinations
        ),
        assignments=tuple(assignment(names[one], endpoints) for one, endpoints in destinations.items()),
        leads=Leads(http=publication.serves_http, grpc=publication.grpc_streams is not None)
        if publication.routed
        else None,
        handling=Handling.of(publication.settings),
        max_requests=publication.settings.max_requests,
    )


@lru_cache(maxsize=CACHED_CLUSTERS)
def cluster(name: str, *, grpc_streams: int | None = None, hashed: bool = False) -> Resource:
    """Return a cluster whose endpoints come from the gateway.

    Routers speak HTTP/1.1 to it, or HTTP/2 with so many requests of gRPC at a time on one connection. A server may
    break off what goes beyond its own limit, and a router hears of that only once it has sent its first requests.

    The panic threshold is zero because the publication has decided already which endpoints take traffic; Envoy's
    default would send requests to replicas that are not ready yet.

    No endpoint is left out for what happens on its connections (Envoy's outlier detection): Envoy takes every WebSocket
    that its replica closes for a failure, so a healthy replica would lose its requests to a fallback, or to nobody.
    A request that finds an endpoint dead is tried on the next one, and on a fallback in the end.
    """
    limits: Fields = {
        "max_connections": {"value": UNLIMITED},
        "max_pending_requests": {"value": DEFAULT_MAX_REQUESTS},
        "max_requests": {"value": DEFAULT_MAX_REQUESTS},
        "max_retries": {"value": UNLIMITED},
    }
    protocol_options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    fields: dict[str, Value] = {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": ADS},
        "connect_timeout": CONNECT_TIMEOUT,
        "per_connection_buffer_limit_bytes": {"value": BUFFER_BYTES},
        "lb_policy": "MAGLEV" if hashed else "LEAST_REQUEST",
        # Without a window, all threads of a router heed a changed health at once; by default some do up to 1 s later.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": timedelta(0)},
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {
            protocol_options: pack(
                protocol_options,
                {
                    "common_http_protocol_options": {"idle_timeout": UPSTREAM_IDLE_TIMEOUT},
                    "explicit_http_config": _protocol(grpc_streams),
                },
            ),
        },
    }
    if hashed:
        fields["maglev_lb_config"] = {"table_size": {"value": HASH_TABLE_SIZE}}
    return resource(ResourceType.CLUSTER, name, serialise(ResourceType.CLUSTER.message, fields))


def _protocol(grpc_streams: int | None) -> Fields:
    if grpc_streams is None:
        return {"http_protocol_options": {}}
    return {"http2_protocol_options": {"max_concurrent_streams": {"value": grpc_streams}}}


def assignment(name: str, endpoints: tuple[Endpoint, ...]) -> Resource:
    """Return the endpoints of a cluster, one locality a route set; without endpoints the cluster is empty.

    A fallback has a priority of its own, which Envoy uses while no endpoint of the first can take a request.
    """
    fields: Fields = {
        "cluster_name": name,
        "endpoints": [
            {
                "locality": {"zone": locality(route_set)},
                "priority": int(is_fallback),
                "lb_endpoints": [_lb_endpoint(one) for one in members],
            }
            for (route_set, is_fallback), members in groupby(
                endpoints, key=lambda one: (one.route_set, one.is_fallback)
            )
        ],
        "policy": {"overprovisioning_factor": {"value": OVERPROVISIONING}},
    }
    return resource(ResourceType.ENDPOINTS, name, serialise(ResourceType.ENDPOINTS.message, fields))


def _lb_endpoint(endpoint: Endpoint) -> Fields:
    address: Fields = {"address": endpoint.host, "port_value": endpoint.port}
    return {
        "health_status": HEALTH_STATUS[endpoint.state],
        "endpoint": {"address": {"socket_address": address}},
    }


def locality(route_set: RouteSetId) -> str:
    """Return the zone under which routers report a set's load."""
    return f"{LOCALITY_PREFIX}{route_set}"


def route_set_of(zone: str) -> RouteSetId | None:
    """Return the set of a zone, or ``None`` for a locality that the gateway did not publish."""
    number = zone.removeprefix(LOCALITY_PREFIX)
    return RouteSetId(int(number)) if number != zone and number.isdecimal() else None
