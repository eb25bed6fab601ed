"""How routers find a deployment: listeners and route configurations.

Neither ever changes at a switch. A deployment is addressed by host name (``<name>``, and ``<name>.<domain>`` in each of
the installation's domains, and host names of its own) or, where clients have only one host name, by the path
``/<name>``. Each route exists twice,
because only idempotent requests may be retried once a replica can have begun to work on them: a generation must not run
twice.

What a deployment adds to the route configurations is made and serialised when the deployment comes; the configurations
are put together of that. Paths are found in a tree, so that the last of many deployments is found as soon as the first.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Final

from celadon.domain.decisions.publication import Destination
from celadon.domain.language.names import PREVIEW_SUFFIX, DeploymentName
from celadon.domain.language.traffic import DEFAULT_RETRIES
from celadon.gateway.addresses import SocketAddress
from celadon.gateway.bootstrap import CLIENTS_CERTIFICATE
from celadon.gateway.local_replies import COLOUR_HEADER, NO_SUCH_PORT_STATUS, local_reply_config
from celadon.gateway.own_cookies import own_cookie_filters
from celadon.gateway.own_listeners import AS_ALL_OTHERS, OwnListeners
from celadon.gateway.protobuf import Fields, Value, embed, pack, serialise
from celadon.gateway.resources import (
    ADS,
    AS_USUAL,
    BUFFER_BYTES,
    NO_DEADLINE,
    Handling,
    Leads,
    Resource,
    ResourceType,
    cluster_name,
    is_preview,
    resource,
)

LIVE: Final = "live"
PREVIEW: Final = "preview"
"""Names of the two listeners and of their route configurations."""

PREVIEW_HEADER: Final = "x-celadon-preview"
"""With the key, asks the live listener for green; never forwarded."""

IDEMPOTENT_METHODS: Final = "GET|HEAD|OPTIONS|TRACE|PUT|DELETE"
RETRY_IDEMPOTENT: Final = "connect-failure,refused-stream,reset"
RETRY_OTHERS: Final = "connect-failure,refused-stream,reset-before-request"
RETRIES_IDEMPOTENT: Final = 2
"""At most. Fewer, because a request that kills the replica which works on it goes on to kill the next one."""

RETRY_PAUSE: Final = timedelta(milliseconds=5)
LONGEST_RETRY_PAUSE: Final = timedelta(milliseconds=100)

HOST_SELECTION_ATTEMPTS: Final = 200
"""How often a retry looks for a replica that has not been tried yet.

A dead replica has no request running, so the balancer prefers it; with Envoy's usual handful of looks a retry meets it
again.
"""

KEPT_BODY_BYTES: Final = 16 << 20
"""How much of a request's body a router keeps, because it cannot try again what it has not kept."""

BODY_TOO_LARGE_STATUS: Final = 413
LARGEST_LENGTH: Final = 2**63 - 1
"""Beyond what a ``content-length`` may say."""

NO_CLIENT: Final[Fields] = {"address_prefix": "255.255.255.255", "prefix_len": {"value": 32}}
"""An address that no request comes from; without one, Envoy trusts all private addresses."""

HOST_OF_ROUTERS: Final = "localhost"
"""The host name of requests by HTTP/1.0 that have none; no deployment is called so, so they are addressed by path."""

MAX_HEADERS_KIB: Final = 60
"""How large the headers of a request may be, unless the operator says otherwise; it is Envoy's own figure."""

BY_PATH: Final = "*"
"""Name of the virtual host of all paths; no deployment can have it."""

PREFIX_HEADER: Final = "x-forwarded-prefix"
"""Tells a replica which path a client puts before the replica's own; clients cannot send it."""

FORWARDED_HEADER: Final = "forwarded"
"""The standard's form of the ``x-forwarded-`` headers; routers do not write it, and clients cannot send it."""

_VIRTUAL_HOST: Final = "envoy.config.route.v3.VirtualHost"
_MATCHER: Final = "xds.type.matcher.v3.Matcher"
_TREE: Final = f"{_MATCHER}.MatcherTree"
_PATHS: Final = f"{_TREE}.MatchMap"


@dataclass(frozen=True)
class Routing:
    """What the operator decides about routers; every router is told the same, unless it listens elsewhere."""

    live: SocketAddress
    preview: SocketAddress | None
    """Where green is served under its own port; nowhere when not set."""
    preview_key: str | None
    """The value of ``x-celadon-preview`` that reaches green on the live listener; none does when not set."""
    stream_idle_timeout: timedelta
    """How long a request may pass without a byte in either direction; zero means for ever."""
    domains: tuple[str, ...] = ()
    """In each of them a deployment has a host name, beside its name alone."""
    trusted_hops: int = 0
    """Proxies before the routers, each of which appends the address of its client to ``x-forwarded-for``."""
    keep_request_ids: bool = False
    """Whether replicas get the ``x-request-id`` of clients; otherwise the router gives each request one of its own."""
    return_request_ids: bool = False
    """Whether answers bear the ``x-request-id`` of their request."""
    accept_http_10: bool = False
    """Whether clients may speak HTTP/1.0."""
    max_headers_kib: int = MAX_HEADERS_KIB
    """How large the headers of a request may be."""
    headers_timeout: timedelta = timedelta(seconds=10)
    """How long a client may take for the headers of a request."""
    deadline: timedelta = NO_DEADLINE
    """How long a whole answer may take; zero means for ever, or as long as a client of gRPC says."""

    @cached_property
    def listeners(self) -> dict[str, Resource]:
        """The listeners by name."""
        return self.listeners_with(AS_ALL_OTHERS)

    def listeners_with(self, own: OwnListeners) -> dict[str, Resource]:
        """Return the listeners by name, for a router that has something of its ``own``."""
        addresses = {LIVE: own.addresses.get(LIVE, self.live), PREVIEW: own.addresses.get(PREVIEW, self.preview)}
        return {
            name: _listener(name, address, self._http_connection_manager(name), own.certificate_secret)
            for name, address in addresses.items()
            if address is not None
        }

    def routes_to(
        self, name: DeploymentName, leads: Leads, own_hosts: Sequence[str] = (), handling: Handling = AS_USUAL
    ) -> "DeploymentRoutes":
        """Return what a deployment adds to the route configurations.

        No other deployment may have one of its ``own_hosts``, nor may one of them be made of a name: Envoy refuses a
        configuration that has a host name twice, with all that is in it.
        """
        handling = replace(handling, deadline=self.deadline)
        live = _Addressed(name, leads, handling, is_preview=False, preview_key=self.preview_key)
        preview = _Addressed(name, leads, handling, is_preview=True)
        green = name + PREVIEW_SUFFIX
        return DeploymentRoutes(
            live=_fragments(name, [*self._hosts(name), *own_hosts], live),
            preview=None
            if self.preview is None
            else _fragments(name, [*self._hosts(name, green), *own_hosts], preview),
        )

    def route_configurations(self, deployments: Iterable["DeploymentRoutes"]) -> dict[str, Resource]:
        """Return the route configurations by name; the same deployments in the same order give the same versions."""
        routes = tuple(deployments)
        configurations = {LIVE: _route_configuration(LIVE, [one.live for one in routes])}
        if self.preview is not None:
            previews = [one.preview for one in routes if one.preview is not None]
            configurations[PREVIEW] = _route_configuration(PREVIEW, previews)
        return configurations

    @property
    def route_names(self) -> frozenset[str]:
        """The names of the route configurations."""
        return frozenset({LIVE} if self.preview is None else {LIVE, PREVIEW})

    def _hosts(self, *labels: str) -> list[str]:
        """Return the host names that begin with one of the labels."""
        return [host for label in labels for host in (label, *(f"{label}.{domain}" for domain in self.domains))]

    def _http_connection_manager(self, name: str) -> Fields:
        """Return the HTTP side of a listener.

        ``use_remote_address`` makes the router an edge: ``x-envoy-*`` headers of clients, which could ask for retries
        or deadlines of their own, are dropped. No client address is exempt from that.
        """
        return {
            "stat_prefix": name,
            "rds": {"config_source": ADS, "route_config_name": name},
            "http_filters": [
                *own_cookie_filters(),
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": pack(
                        "envoy.extensions.filters.http.router.v3.Router",
                        {"suppress_envoy_headers": True},
                    ),
                },
            ],
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "use_remote_address": {"value": True},
            "internal_address_config": {"cidr_ranges": [NO_CLIENT]},
            "xff_num_trusted_hops": self.trusted_hops,
            "preserve_external_request_id": self.keep_request_ids,
            "always_set_request_id_in_response": self.return_request_ids,
            "http_protocol_options": {
                "accept_http_10": self.accept_http_10,
                "default_host_for_http_10": HOST_OF_ROUTERS,
            },
            "server_header_transformation": "PASS_THROUGH",
            "normalize_path": {"value": True},
            "request_headers_timeout": self.headers_timeout,
            "max_request_headers_kb": {"value": self.max_headers_kib},
            "stream_idle_timeout": self.stream_idle_timeout,
            "local_reply_config": local_reply_config(),
        }


@dataclass(frozen=True, slots=True)
class _Fragments:
    """What one deployment adds to one route configuration, serialised."""

    virtual_host: bytes
    """A route configuration with the deployment's virtual host alone."""
    by_path: bytes
    """A map of paths with the deployment's alone."""


@dataclass(frozen=True, slots=True)
class DeploymentRoutes:
    """What one deployment adds to the route configurations."""

    live: _Fragments
    preview: _Fragments | None
    """``None`` when there is no listener for previews."""


@dataclass(frozen=True, slots=True)
class _Addressed:
    """Where requests to one address go."""

    deployment: DeploymentName
    leads: Leads
    handling: Handling
    is_preview: bool
    preview_key: str | None = None
    """With it, requests go to green; ``None`` when none does."""

    def too_large(self, match: Fields) -> list[Fields]:
        """Return the route of requests whose body says that it is larger than it may be, before all others.

        It is known before a byte of the body has come. A body that does not say its length passes: only a router that
        kept all of it could tell, and that would end streams of requests.
        """
        if self.handling.max_body is None:
            return []
        larger: Fields = {"start": self.handling.max_body + 1, "end": LARGEST_LENGTH}
        headers: Fields = {"name": "content-length", "range_match": larger}
        return [{"match": {**match, "headers": [headers]}, "direct_response": {"status": BODY_TOO_LARGE_STATUS}}]

    def routes(self, match: Fields, prefix: str | None = None) -> list[Fields]:
        """Return the routes of requests that match: those of gRPC first, and of either kind those with a key first.

        Args:
            match: how their path begins.
            prefix: what is taken from their path.

        """
        of_grpc: Fields = {**match, "grpc": {}}
        if not self.leads.grpc:
            return [_refusal(of_grpc), *self.others(match, prefix)]
        grpc_routes = [
            _route({**of_grpc, "headers": headers}, cluster, prefix, self.handling, is_grpc=True)
            for headers, cluster in self._ways(is_grpc=True)
        ]
        return grpc_routes + self.others(match, prefix)

    def others(self, match: Fields, prefix: str | None = None, *, alike: bool = False) -> list[Fields]:
        """Return the routes of requests that match, taken that none of them is of gRPC.

        Args:
            match: how their path begins, or what it is.
            prefix: what is taken from their path.
            alike: whether idempotent requests are retried as all others are, which saves every second route.

        """
        if not self.leads.http:
            return [_refusal(match)]
        return [
            route
            for headers, cluster in self._ways(is_grpc=False)
            for route in _routes(match, cluster, prefix, headers, self.handling, alike=alike)
        ]

    def _ways(self, *, is_grpc: bool) -> Iterator[tuple[list[Fields], str]]:
        """Yield the headers by which requests are told apart, each with the cluster to which those with them go."""
        hashed = self.handling.hash_header is not None
        if self.preview_key is not None:
            key: Fields = {"name": PREVIEW_HEADER, "string_match": {"exact": self.preview_key}}
            yield [key], cluster_name(self.deployment, Destination(is_grpc, is_preview=True, is_hashed=hashed))
        destination = Destination(is_grpc, is_preview=self.is_preview, is_hashed=hashed)
        yield [], cluster_name(self.deployment, destination)


def _fragments(name: str, hosts: Sequence[str], to: _Addressed) -> _Fragments:
    everything: Fields = {"prefix": "/"}
    routes = [*to.too_large(everything), *to.routes(everything)]
    virtual_host: Fields = {"name": name, "domains": hosts, "routes": routes, **_FOR_ALL_ROUTES}
    path = f"/{name}"
    # The tree finds the longest path that a request's path begins with, so "/chat" is found for "/chatter" too; the
    # routes compare once more.
    below: Fields = {"prefix": f"{path}/"}
    by_path = [
        *to.too_large(below),
        *to.routes(below, path),
        *to.too_large({"path": path}),
        *to.others({"path": path}, path, alike=True),
    ]
    action: Fields = {"name": name, "typed_config": pack("envoy.config.route.v3.RouteList", {"routes": by_path})}
    entry: Fields = {"key": path, "value": {"action": action}}
    return _Fragments(
        virtual_host=serialise(ResourceType.ROUTES.message, {"virtual_hosts": [virtual_host]}),
        by_path=embed(_PATHS, "map", serialise(f"{_PATHS}.MapEntry", entry)),
    )


def _route_configuration(name: str, deployments: Sequence[_Fragments]) -> Resource:
    """Return a route configuration; serialised messages, joined, are the message with all their repeated fields."""
    head: Fields = {
        "name": name,
        "request_headers_to_remove": [PREVIEW_HEADER, COLOUR_HEADER, PREFIX_HEADER, FORWARDED_HEADER],
        "most_specific_header_mutations_wins": True,
        "ignore_port_in_host_matching": True,
    }
    by_path = serialise(_VIRTUAL_HOST, {"name": BY_PATH, "domains": ["*"], **_FOR_ALL_ROUTES})
    if deployments:
        paths = b"".join(one.by_path for one in deployments)
        tree = serialise(_TREE, {"input": _PATH_INPUT}) + embed(_TREE, "prefix_match_map", paths)
        by_path += embed(_VIRTUAL_HOST, "matcher", embed(_MATCHER, "matcher_tree", tree))
    body = b"".join(
        (
            serialise(ResourceType.ROUTES.message, head),
            *(one.virtual_host for one in deployments),
            embed(ResourceType.ROUTES.message, "virtual_hosts", by_path),
        ),
    )
    return resource(ResourceType.ROUTES, name, body)


def _routes(
    match: Fields,
    cluster: str,
    prefix: str | None,
    headers: Sequence[Fields],
    handling: Handling,
    *,
    alike: bool,
) -> list[Fields]:
    """Return the routes to a cluster: that of idempotent requests, unless all are alike, then that of all others."""
    others = _route({**match, "headers": headers}, cluster, prefix, handling)
    if alike:
        return [others]
    idempotent: Fields = {"name": ":method", "string_match": {"safe_regex": {"regex": IDEMPOTENT_METHODS}}}
    retries = _retry_policy(RETRY_IDEMPOTENT, min(RETRIES_IDEMPOTENT, handling.retries))
    return [_route({**match, "headers": [*headers, idempotent]}, cluster, prefix, handling, retries), others]


def _refusal(match: Fields) -> Fields:
    """Return a route of requests that no replica of the deployment can take; the router's own reply says why."""
    return {"match": match, "direct_response": {"status": NO_SUCH_PORT_STATUS}}


def _route(
    match: Fields,
    cluster: str,
    prefix: str | None,
    handling: Handling,
    retries: Fields | None = None,
    *,
    is_grpc: bool = False,
) -> Fields:
    """Return a route; its retries are those of all, unless it has own.

    A client of gRPC says itself how long its request may take, in ``grpc-timeout``.
    """
    action: dict[str, Value] = {"cluster": cluster, "timeout": handling.deadline}
    if is_grpc:
        action["max_stream_duration"] = {"grpc_timeout_header_max": handling.deadline}
    added: list[Fields] = []
    if retries is None and handling.retries != DEFAULT_RETRIES:
        retries = _retry_policy(RETRY_OTHERS, handling.retries)
    if retries is not None:
        action["retry_policy"] = retries
    if handling.idle_timeout is not None:
        action["idle_timeout"] = handling.idle_timeout
    if handling.hash_header is not None:
        action["hash_policy"] = [{"header": {"header_name": handling.hash_header}}]
    if prefix is not None:
        action["prefix_rewrite"] = "/"
        added.append({"key": PREFIX_HEADER, "value": prefix})
    if is_preview(cluster):
        added.append({"key": COLOUR_HEADER, "value": "green"})
    return {
        "match": match,
        "route": action,
        "request_headers_to_add": [{"header": one, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"} for one in added],
    }


def _retry_policy(retry_on: str, retries: int) -> Fields:
    """Return how requests are retried: on another replica if there is one, and in the end on a fallback.

    Where the number is 0, they are not, and nothing is said of when they would be: otherwise a router would keep the
    body of each request all the same, 16 KiB of memory at least for as long as the request runs.
    """
    if not retries:
        return {"num_retries": {"value": 0}}
    predicate = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    priorities = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    return {
        "retry_on": retry_on,
        "num_retries": {"value": retries},
        "retry_back_off": {"base_interval": RETRY_PAUSE, "max_interval": LONGEST_RETRY_PAUSE},
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": pack(predicate, {})},
        ],
        "host_selection_retry_max_attempts": HOST_SELECTION_ATTEMPTS,
        # The last attempt goes to another priority than all before it, if that has a replica.
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": pack(priorities, {"update_frequency": retries}),
        },
    }


_FOR_ALL_ROUTES: Final[Fields] = {
    "retry_policy": _retry_policy(RETRY_OTHERS, DEFAULT_RETRIES),
    "request_body_buffer_limit": {"value": KEPT_BODY_BYTES},
}
"""What a virtual host says once for its routes."""

_PATH_INPUT: Final[Fields] = {
    "name": "path",
    "typed_config": pack("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", {"header_name": ":path"}),
}


def _listener(name: str, address: SocketAddress, http: Fields, certificate_secret: str | None) -> Resource:
    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    network_filter: Fields = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": pack(manager, http),
    }
    chain: dict[str, Value] = {"filters": [network_filter]}
    if certificate_secret is not None:
        chain["transport_socket"] = _tls(certificate_secret)
    fields: Fields = {
        "name": name,
        "address": {"socket_address": {"address": address.host, "port_value": address.port}},
        "per_connection_buffer_limit_bytes": {"value": BUFFER_BYTES},
        "filter_chains": [chain],
    }
    return resource(ResourceType.LISTENER, name, serialise(ResourceType.LISTENER.message, fields))


def _tls(certificate_secret: str) -> Fields:
    """Return the clients' side of a listener that speaks TLS; the router's machine alone has the key."""
    context = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    source: Fields = {"path_config_source": {"path": certificate_secret}, "resource_api_version": "V3"}
    common: Fields = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [{"name": CLIENTS_CERTIFICATE, "sds_config": source}],
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": pack(context, {"common_tls_context": common})}
