"""Configurations of Envoy that lead to the same replicas: the smallest, and Celadon's own without one piece or more.

What a gateway tells its routers is taken apart into a bootstrap that needs no gateway, so that a piece can be left out.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, TypeAlias

from google.protobuf.json_format import MessageToDict

from bench.gateway import HOST
from celadon.domain.decisions.publication import Publication
from celadon.gateway.protobuf import message_class
from celadon.gateway.resources import Resource, ResourceType
from celadon.gateway.routing import LIVE, Routing
from celadon.gateway.snapshot import Snapshot

Configuration: TypeAlias = dict[str, Any]
"""A bootstrap as JSON, whose listener and clusters are static."""

CONNECT_TIMEOUT: Final = "60s"
"""Of all configurations: what is measured is no lack of a core for the replicas on a busy machine."""

_RESPONSE: Final = "envoy.service.discovery.v3.DeltaDiscoveryResponse"
_MANAGER: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER: Final = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}


def smallest(port: int, replicas: Sequence[int], admin: Path) -> Configuration:
    """Return the smallest configuration that balances requests on ``port`` over replicas by their running requests.

    It has no deadline, as Celadon has none, because one would cut streams.
    """
    manager: Configuration = {
        "@type": f"type.googleapis.com/{_MANAGER}",
        "stat_prefix": "smallest",
        "http_filters": [_ROUTER],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "chat", "timeout": "0s"}}],
                },
            ],
        },
    }
    endpoints = [{"endpoint": {"address": _address(replica)}} for replica in replicas]
    cluster: Configuration = {
        "name": "chat",
        "connect_timeout": CONNECT_TIMEOUT,
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {"cluster_name": "chat", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    network_filter = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {"name": "live", "address": _address(port), "filter_chains": [{"filters": [network_filter]}]}
    return _bootstrap([listener], [cluster], admin)


def own(routing: Routing, publication: Publication, admin: Path) -> Configuration:
    """Return what a gateway tells a router of its live listener and of one deployment, as a bootstrap."""
    snapshot = Snapshot(routing)
    snapshot.publish(publication)
    listener = _read(ResourceType.LISTENER, snapshot.of(ResourceType.LISTENER)[LIVE])
    manager = _manager_of(listener)
    del manager["rds"]
    manager["route_config"] = _read(ResourceType.ROUTES, snapshot.of(ResourceType.ROUTES)[LIVE])
    assignments = snapshot.of(ResourceType.ENDPOINTS)
    clusters = []
    for name, told in snapshot.of(ResourceType.CLUSTER).items():
        cluster = _read(ResourceType.CLUSTER, told)
        del cluster["eds_cluster_config"]
        cluster["type"] = "STATIC"
        cluster["connect_timeout"] = CONNECT_TIMEOUT
        cluster["load_assignment"] = _read(ResourceType.ENDPOINTS, assignments[name])
        clusters.append(cluster)
    return _bootstrap([listener], clusters, admin)


def without(configuration: Configuration, *pieces: str) -> Configuration:
    """Return a configuration of :func:`own` without some of :data:`PIECES`."""
    made = deepcopy(configuration)
    for piece in pieces:
        PIECES[piece](made)
    return made


def _bootstrap(listeners: list[Configuration], clusters: list[Configuration], admin: Path) -> Configuration:
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": {"pipe": {"path": str(admin)}}},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def _address(port: int) -> Configuration:
    return {"socket_address": {"address": HOST, "port_value": port}}


def _read(kind: ResourceType, resource: Resource) -> Configuration:
    """Return a resource as JSON, with the names of fields that Envoy's documentation has."""
    response: Any = message_class(_RESPONSE).FromString(resource.wire)
    message: Any = message_class(kind.message).FromString(response.resources[0].resource.value)
    pool = message.DESCRIPTOR.file.pool
    return MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool)


def _manager_of(listener: Configuration) -> Configuration:
    manager: Configuration = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def _manager(configuration: Configuration) -> Configuration:
    return _manager_of(configuration["static_resources"]["listeners"][0])


def _routes(configuration: Configuration) -> list[Configuration]:
    """Return the routes of all virtual hosts, but those by path."""
    hosts = _manager(configuration)["route_config"]["virtual_hosts"]
    return [route for host in hosts for route in host.get("routes", ())]


def _without_cookie_filters(configuration: Configuration) -> None:
    manager = _manager(configuration)
    manager["http_filters"] = manager["http_filters"][-1:]


def _without_retries(configuration: Configuration) -> None:
    for host in _manager(configuration)["route_config"]["virtual_hosts"]:
        host.pop("retry_policy", None)
        host.pop("request_body_buffer_limit", None)
    for route in _routes(configuration):
        route.get("route", {}).pop("retry_policy", None)


def _with_one_route(configuration: Configuration) -> None:
    for host in _manager(configuration)["route_config"]["virtual_hosts"]:
        host["routes"] = host.get("routes", [])[-1:]
        host.pop("matcher", None)


def _without_removed_headers(configuration: Configuration) -> None:
    _manager(configuration)["route_config"].pop("request_headers_to_remove", None)


def _without_edge(configuration: Configuration) -> None:
    manager = _manager(configuration)
    for key in ("use_remote_address", "internal_address_config"):
        manager.pop(key, None)


def _without_normalized_paths(configuration: Configuration) -> None:
    _manager(configuration).pop("normalize_path", None)


def _without_timeouts(configuration: Configuration) -> None:
    manager = _manager(configuration)
    manager.pop("request_headers_timeout", None)
    manager["stream_idle_timeout"] = "0s"


def _without_own_replies(configuration: Configuration) -> None:
    _manager(configuration).pop("local_reply_config", None)


def _without_cluster_settings(configuration: Configuration) -> None:
    static = configuration["static_resources"]
    for one in (*static["listeners"], *static["clusters"]):
        one.pop("per_connection_buffer_limit_bytes", None)
    for cluster in static["clusters"]:
        for key in ("common_lb_config", "circuit_breakers", "typed_extension_protocol_options"):
            cluster.pop(key, None)
        cluster["load_assignment"].pop("policy", None)


PIECES: Final[Mapping[str, Callable[[Configuration], None]]] = {
    "filters for the console's cookies": _without_cookie_filters,
    "retries": _without_retries,
    "routes of gRPC, of a preview key and by method": _with_one_route,
    "headers taken from requests": _without_removed_headers,
    "the edge: addresses of clients": _without_edge,
    "normalised paths": _without_normalized_paths,
    "timeouts of headers and of idle streams": _without_timeouts,
    "the router's own replies": _without_own_replies,
    "limits of buffers, settings of clusters": _without_cluster_settings,
}
"""What takes each piece of Celadon's configuration away; in the order of a request's way."""
