"""Envoy's bootstrap: all that a router must know before it asks the gateway."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from celadon.domain.names import RouterNode
from celadon.gateway.addresses import SocketAddress

Json: TypeAlias = "str | int | bool | Mapping[str, Json] | Sequence[Json]"

GATEWAY_CLUSTER: Final = "celadon-gateway"
NODE_CLUSTER: Final = "celadon"

_HTTP_PROTOCOL_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


LISTENS_METADATA: Final = "celadon.listens"
"""Where a router's metadata names listeners with addresses of its own."""


def bootstrap(
    node: RouterNode,
    gateway: SocketAddress,
    admin: SocketAddress,
    listens: Mapping[str, SocketAddress] | None = None,
    other_gateways: Sequence[SocketAddress] = (),
) -> dict[str, Json]:
    """Return the bootstrap of one router, to be written as JSON and given to ``envoy -c``.

    Args:
        node: the router's name; two routers of one name take the gateway's streams from each other.
        gateway: where the gateway listens.
        admin: where the router's admin interface listens; it has no authentication, so keep it on loopback.
        listens: addresses of listeners, by their names, where this router does not listen where the gateway says; for
            routers that share a machine.
        other_gateways: where more gateways listen, for a router that goes to another one when its own is away.

    """
    stream: dict[str, Json] = {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [
            {
                "envoy_grpc": {
                    "cluster_name": GATEWAY_CLUSTER,
                    "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}},
                },
            },
        ],
    }
    identity: dict[str, Json] = {"id": node, "cluster": NODE_CLUSTER}
    if listens:
        identity["metadata"] = {LISTENS_METADATA: {name: str(address) for name, address in listens.items()}}
    from_gateway: Json = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": identity,
        "admin": {"address": _socket_address(admin)},
        "dynamic_resources": {
            "ads_config": {**stream, "api_type": "DELTA_GRPC", "set_node_on_first_message_only": True},
            "cds_config": from_gateway,
            "lds_config": from_gateway,
        },
        "cluster_manager": {"load_stats_config": stream},
        "static_resources": {"clusters": [_gateway_cluster((gateway, *other_gateways))]},
    }


def _gateway_cluster(gateways: Sequence[SocketAddress]) -> dict[str, Json]:
    """Return the cluster of the gateways; its pings notice a gateway whose host vanished."""
    endpoints: Json = [{"endpoint": {"address": _socket_address(one)}} for one in gateways]
    keepalive: Json = {"interval": "5s", "timeout": "3s"}
    return {
        "name": GATEWAY_CLUSTER,
        "type": "STATIC" if all(one.is_ip for one in gateways) else "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": GATEWAY_CLUSTER, "endpoints": [{"lb_endpoints": endpoints}]},
        "typed_extension_protocol_options": {
            _HTTP_PROTOCOL_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_PROTOCOL_OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}},
            },
        },
    }


def _socket_address(address: SocketAddress) -> dict[str, Json]:
    return {"socket_address": {"address": address.host, "port_value": address.port}}
