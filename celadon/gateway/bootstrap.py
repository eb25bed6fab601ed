"""Envoy's bootstrap: all that a router must know before it asks the gateway."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from celadon.domain.language.names import RouterNode
from celadon.gateway.addresses import GatewayAddress, UnixAddress, check_socket_path
from celadon.gateway.certificates import CA, CERTIFICATE, KEY
from celadon.gateway.open_files import DEFAULT_CONNECTIONS
from celadon.gateway.own_listeners import AS_ALL_OTHERS, OwnListeners

Json: TypeAlias = "str | int | bool | Mapping[str, Json] | Sequence[Json]"

GATEWAY_CLUSTER: Final = "celadon-gateway"
NODE_CLUSTER: Final = "celadon"
RUNTIME_LAYER: Final = "celadon"
"""Name of the layer of Envoy's runtime that comes from the gateway."""

RUNTIME_PATIENCE: Final = "1s"
"""How long a router that starts waits for that layer, of a gateway that does not know it yet."""

ADMIN_MODE: Final = 0o600
"""Of the admin interface's socket: whoever reaches it can stop the router and read the preview key."""

_CERTIFICATE: Final = "certificate"
_AUTHORITY: Final = "ca"
CLIENTS_CERTIFICATE: Final = "clients-certificate"
"""Name of the secret with the certificate that a router shows to clients."""

_HTTP_PROTOCOL_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS: Final = "envoy.extensions.transport_sockets.tls.v3"
_CONNECTIONS: Final = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"


@dataclass(frozen=True, slots=True)
class RouterTls:
    """How a router shows who it is, and whom it takes for a gateway."""

    certificates: Path
    """The directory with ``tls.crt``, ``tls.key`` and ``ca.crt``; Envoy reads them again when they are replaced."""
    secrets: Path
    """The directory with what :func:`secret_files` returns."""
    gateway_identities: tuple[str, ...]
    """URIs or DNS names, one of which the gateway's certificate bears."""


def bootstrap(
    node: RouterNode,
    gateways: Sequence[GatewayAddress],
    admin: Path,
    own: OwnListeners = AS_ALL_OTHERS,
    tls: RouterTls | None = None,
    *,
    max_connections: int = DEFAULT_CONNECTIONS,
) -> dict[str, Json]:
    """Return the bootstrap of one router, to be written as JSON and given to ``envoy -c``.

    Args:
        node: the router's name, which its certificate names too.
        gateways: where gateways listen: it goes to another one when its own is away. All on Unix sockets, or none.
        admin: the Unix socket of the router's admin interface, which only its own user may open.
        own: what its listeners have of their own, such as other addresses where routers share a machine.
        tls: what the router needs for gateways on TCP addresses.
        max_connections: how many connections of clients it may hold; it closes those that are too many at once.

    Raises:
        ValueError: the admin interface's path cannot be one, or the gateways need certificates and there are none.

    """
    check_socket_path(admin)
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
    if own:
        identity["metadata"] = own.metadata()
    from_gateway: Json = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": identity,
        "admin": {
            "address": {"pipe": {"path": str(admin), "mode": ADMIN_MODE}},
            # Whoever looks after a router that is full must still reach it.
            "ignore_global_conn_limit": True,
        },
        "overload_manager": {"resource_monitors": [_connections(max_connections)]},
        "dynamic_resources": {
            "ads_config": {**stream, "api_type": "DELTA_GRPC", "set_node_on_first_message_only": True},
            "cds_config": from_gateway,
            "lds_config": from_gateway,
        },
        "layered_runtime": {"layers": [_runtime_layer()]},
        "cluster_manager": {"load_stats_config": stream},
        "static_resources": {"clusters": [_gateway_cluster(gateways, tls)]},
    }


def _runtime_layer() -> dict[str, Json]:
    source: Json = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": RUNTIME_PATIENCE}
    return {"name": RUNTIME_LAYER, "rtds_layer": {"name": RUNTIME_LAYER, "rtds_config": source}}


def _connections(most: int) -> dict[str, Json]:
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": f"type.googleapis.com/{_CONNECTIONS}",
            "max_active_downstream_connections": most,
        },
    }


def secret_files(certificates: Path) -> dict[str, Json]:
    """Return the files by which Envoy finds the certificates of a directory, and hears that they were replaced."""
    authority: Json = {
        "trusted_ca": {"filename": str(certificates / CA)},
        "watched_directory": {"path": str(certificates)},
    }
    return {
        secret_file(_CERTIFICATE): _secret(_CERTIFICATE, "tls_certificate", _certificate(certificates)),
        secret_file(_AUTHORITY): _secret(_AUTHORITY, "validation_context", authority),
    }


def clients_secret_files(certificates: Path) -> dict[str, Json]:
    """Return the file by which Envoy finds the certificate for clients, ``tls.crt`` and ``tls.key`` of a directory."""
    content = _secret(CLIENTS_CERTIFICATE, "tls_certificate", _certificate(certificates))
    return {secret_file(CLIENTS_CERTIFICATE): content}


def secret_file(name: str) -> str:
    """Return the name of the file that leads Envoy to a secret."""
    return f"{name}.secret.json"


def _certificate(directory: Path) -> Json:
    return {
        "certificate_chain": {"filename": str(directory / CERTIFICATE)},
        "private_key": {"filename": str(directory / KEY)},
        "watched_directory": {"path": str(directory)},
    }


def _secret(name: str, kind: str, content: Json) -> Json:
    return {"resources": [{"@type": f"type.googleapis.com/{_TLS}.Secret", "name": name, kind: content}]}


def _gateway_cluster(gateways: Sequence[GatewayAddress], tls: RouterTls | None) -> dict[str, Json]:
    """Return the cluster of the gateways; its pings notice a gateway whose host vanished."""
    sockets = [one for one in gateways if isinstance(one, UnixAddress)]
    if sockets and len(sockets) != len(gateways):
        raise ValueError("gateways are all on Unix sockets, or all on TCP addresses")
    if not sockets and tls is None:
        raise ValueError(f"a router speaks to a gateway on {gateways[0]} with a certificate alone")
    endpoints: Json = [{"endpoint": {"address": _address(one)}} for one in gateways]
    keepalive: Json = {"interval": "5s", "timeout": "3s"}
    return {
        "name": GATEWAY_CLUSTER,
        "type": "STATIC" if all(isinstance(one, UnixAddress) or one.is_ip for one in gateways) else "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": GATEWAY_CLUSTER, "endpoints": [{"lb_endpoints": endpoints}]},
        "typed_extension_protocol_options": {
            _HTTP_PROTOCOL_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_PROTOCOL_OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}},
            },
        },
        **({} if sockets or tls is None else {"transport_socket": _mutual_tls(tls)}),
    }


def _mutual_tls(tls: RouterTls) -> dict[str, Json]:
    """Return the router's side of mutual TLS."""

    def secret(name: str) -> dict[str, Json]:
        source: Json = {"path_config_source": {"path": str(tls.secrets / secret_file(name))}}
        return {"name": name, "sds_config": source}

    names: Json = [
        {"san_type": "URI" if "://" in one else "DNS", "matcher": {"exact": one}} for one in tls.gateway_identities
    ]
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"type.googleapis.com/{_TLS}.UpstreamTlsContext",
            "common_tls_context": {
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_3",
                    "tls_maximum_protocol_version": "TLSv1_3",
                },
                "alpn_protocols": ["h2"],
                "tls_certificate_sds_secret_configs": [secret(_CERTIFICATE)],
                "combined_validation_context": {
                    "default_validation_context": {"match_typed_subject_alt_names": names},
                    "validation_context_sds_secret_config": secret(_AUTHORITY),
                },
            },
        },
    }


def _address(address: GatewayAddress) -> dict[str, Json]:
    if isinstance(address, UnixAddress):
        return {"pipe": {"path": str(address.path)}}
    return {"socket_address": {"address": address.host, "port_value": address.port}}
