"""How routers find a deployment: listeners and route configurations.

Neither ever changes at a switch. A deployment is addressed by host name (``<name>`` and ``<name>.*``) or, where clients
have only one host name, by the path prefix ``/<name>/``. Each route exists twice, because only idempotent requests may
be retried once a replica can have begun to work on them: a generation must not run twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from json import dumps
from typing import Final

from celadon.domain.language.names import DeploymentName
from celadon.gateway.addresses import SocketAddress
from celadon.gateway.own_cookies import own_cookie_filters
from celadon.gateway.protobuf import Fields, Value, message, message_class, pack, serialise
from celadon.gateway.resources import ADS, Resource, ResourceType, is_preview, preview_cluster, resource

LIVE: Final = "live"
PREVIEW: Final = "preview"
"""Names of the two listeners and of their route configurations."""

PREVIEW_HEADER: Final = "x-celadon-preview"
"""With the key, asks the live listener for green; never forwarded."""

COLOUR_HEADER: Final = "x-celadon-colour"
"""Tells a green replica that a request is a preview, and the router's own replies too; clients cannot send it."""

IDEMPOTENT_METHODS: Final = "GET|HEAD|OPTIONS|TRACE|PUT|DELETE"
RETRY_IDEMPOTENT: Final = "connect-failure,refused-stream,reset"
RETRY_OTHERS: Final = "connect-failure,refused-stream,reset-before-request"
RETRIES_UNSEEN: Final = 5
"""So many dead replicas can be met, one after the other, before a request that none has seen is lost."""

RETRIES_IDEMPOTENT: Final = 2
"""Fewer, because a request that kills the replica which works on it goes on to kill the next one."""

RETRY_PAUSE: Final = timedelta(milliseconds=5)
LONGEST_RETRY_PAUSE: Final = timedelta(milliseconds=100)

HOST_SELECTION_ATTEMPTS: Final = 200
"""How often a retry looks for a replica that has not been tried yet.

A dead replica has no request running, so the balancer prefers it; with Envoy's usual handful of looks a retry meets it
again.
"""

KEPT_BODY_BYTES: Final = 16 << 20
"""How much of a request's body a router keeps, because it cannot try again what it has not kept."""

NO_CLIENT: Final[Fields] = {"address_prefix": "255.255.255.255", "prefix_len": {"value": 32}}
"""An address that no request comes from; without one, Envoy trusts all private addresses."""

REQUEST_HEADERS_TIMEOUT: Final = timedelta(seconds=10)

BY_PATH: Final = "*"
"""Name of the virtual host of all paths; no deployment can have it."""

CACHED_DEPLOYMENTS: Final = 4096

NO_GREEN: Final = "no_green"
NO_DEPLOYMENT: Final = "no_deployment"

_VIRTUAL_HOST: Final = "envoy.config.route.v3.VirtualHost"


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

    @cached_property
    def listeners(self) -> dict[str, Resource]:
        """The listeners by name."""
        return self.listeners_at({})

    def listeners_at(self, own: Mapping[str, SocketAddress]) -> dict[str, Resource]:
        """Return the listeners by name, for a router that listens on addresses of its ``own`` instead."""
        addresses = {LIVE: own.get(LIVE, self.live), PREVIEW: own.get(PREVIEW, self.preview)}
        return {
            name: _listener(name, address, self._http_connection_manager(name))
            for name, address in addresses.items()
            if address is not None
        }

    def route_configurations(self, deployments: Iterable[DeploymentName]) -> dict[str, Resource]:
        """Return the route configurations by name, with a virtual host for each deployment."""
        names = sorted(deployments)
        found = {LIVE: _route_configuration(LIVE, [_live_fragments(name, self.preview_key) for name in names])}
        if self.preview is not None:
            found[PREVIEW] = _route_configuration(PREVIEW, [_preview_fragments(name) for name in names])
        return found

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
            "server_header_transformation": "PASS_THROUGH",
            "normalize_path": {"value": True},
            "request_headers_timeout": REQUEST_HEADERS_TIMEOUT,
            "stream_idle_timeout": self.stream_idle_timeout,
            "local_reply_config": {"mappers": _local_replies()},
        }


def _local_replies() -> list[Fields]:
    """Return what a router answers itself: to a preview without green, and where no deployment is addressed."""
    preview: Fields = {"header_filter": {"header": {"name": COLOUR_HEADER, "present_match": True}}}
    without_green: Fields = {"response_flag_filter": {"flags": ["UH"]}}
    without_route: Fields = {"response_flag_filter": {"flags": ["NR"]}}
    return [
        _not_found({"and_filter": {"filters": [preview, without_green]}}, NO_GREEN),
        _not_found(without_route, NO_DEPLOYMENT),
    ]


_MESSAGES: Final = {
    NO_GREEN: "This deployment has no healthy green replica to preview now. "
    "Ask again while a rollout verifies its green or awaits its promotion.",
    NO_DEPLOYMENT: "No deployment has this address. Use its name as host name, or as the first part of the path.",
}


def _not_found(condition: Fields, code: str) -> Fields:
    """Return a local reply of 404 in the shape in which OpenAI's API tells of errors."""
    body = dumps({"error": {"message": _MESSAGES[code], "type": "not_found_error", "param": None, "code": code}})
    return {
        "filter": condition,
        "status_code": {"value": 404},
        "body_format_override": {
            "text_format_source": {"inline_string": body},
            "content_type": "application/json",
        },
    }


@dataclass(frozen=True, slots=True)
class _Fragments:
    """What one deployment adds to a route configuration, serialised."""

    virtual_host: bytes
    """A route configuration with the deployment's virtual host alone."""
    by_path: bytes
    """A virtual host with the routes by the deployment's path prefix alone."""


@lru_cache(maxsize=CACHED_DEPLOYMENTS)
def _live_fragments(name: DeploymentName, preview_key: str | None) -> _Fragments:
    """Return the routes to a deployment; requests with the key go to its green."""

    def routes(prefix: str) -> list[Fields]:
        live = _routes(prefix, name)
        if preview_key is None:
            return live
        keyed: Fields = {"name": PREVIEW_HEADER, "string_match": {"exact": preview_key}}
        return _routes(prefix, preview_cluster(name), [keyed]) + live

    return _fragments(name, [name, f"{name}.*"], routes("/"), routes(f"/{name}/"))


@lru_cache(maxsize=CACHED_DEPLOYMENTS)
def _preview_fragments(name: DeploymentName) -> _Fragments:
    """Return the routes to a deployment's green, under the deployment's own addresses and under that of its preview."""
    green = preview_cluster(name)
    domains = [name, f"{name}.*", green, f"{green}.*"]
    return _fragments(name, domains, _routes("/", green), _routes(f"/{name}/", green))


def _fragments(name: str, domains: Sequence[str], by_host: Sequence[Fields], by_path: Sequence[Fields]) -> _Fragments:
    virtual_host: Fields = {"name": name, "domains": domains, "routes": by_host}
    return _Fragments(
        virtual_host=serialise(ResourceType.ROUTES.message, {"virtual_hosts": [virtual_host]}),
        by_path=serialise(_VIRTUAL_HOST, {"routes": by_path}),
    )


def _route_configuration(name: str, deployments: Sequence[_Fragments]) -> Resource:
    """Return a route configuration; serialised messages, joined, are the message with all their repeated fields."""
    head: Fields = {
        "name": name,
        "request_headers_to_remove": [PREVIEW_HEADER, COLOUR_HEADER],
        "most_specific_header_mutations_wins": True,
        "ignore_port_in_host_matching": True,
    }
    fallback = message_class(_VIRTUAL_HOST).FromString(b"".join(one.by_path for one in deployments))
    fallback.MergeFrom(message(_VIRTUAL_HOST, {"name": BY_PATH, "domains": ["*"]}))
    tail: Fields = {"virtual_hosts": [fallback]}
    body = b"".join(
        (
            serialise(ResourceType.ROUTES.message, head),
            *(one.virtual_host for one in deployments),
            serialise(ResourceType.ROUTES.message, tail),
        ),
    )
    return resource(ResourceType.ROUTES, name, body)


def _routes(prefix: str, cluster: str, headers: Sequence[Fields] = ()) -> list[Fields]:
    """Return the two routes to a cluster: that of idempotent requests, then that of all others."""
    idempotent: Fields = {"name": ":method", "string_match": {"safe_regex": {"regex": IDEMPOTENT_METHODS}}}
    return [
        _route(prefix, cluster, [*headers, idempotent], RETRY_IDEMPOTENT, RETRIES_IDEMPOTENT),
        _route(prefix, cluster, headers, RETRY_OTHERS, RETRIES_UNSEEN),
    ]


def _route(prefix: str, cluster: str, headers: Sequence[Fields], retry_on: str, retries: int) -> Fields:
    """Return a route without a deadline, which would cut a stream; a retry goes to another replica if there is one."""
    predicate = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    action: dict[str, Value] = {
        "cluster": cluster,
        "timeout": timedelta(0),
        "retry_policy": {
            "retry_on": retry_on,
            "num_retries": {"value": retries},
            "retry_back_off": {"base_interval": RETRY_PAUSE, "max_interval": LONGEST_RETRY_PAUSE},
            "retry_host_predicate": [
                {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": pack(predicate, {})},
            ],
            "host_selection_retry_max_attempts": HOST_SELECTION_ATTEMPTS,
        },
    }
    if prefix != "/":
        action["prefix_rewrite"] = "/"
    route: dict[str, Value] = {
        "match": {"prefix": prefix, "headers": headers},
        "route": action,
        "request_body_buffer_limit": {"value": KEPT_BODY_BYTES},
    }
    if is_preview(cluster):
        colour: Fields = {"key": COLOUR_HEADER, "value": "green"}
        route["request_headers_to_add"] = [{"header": colour, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
    return route


def _listener(name: str, address: SocketAddress, http: Fields) -> Resource:
    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    network_filter: Fields = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": pack(manager, http),
    }
    fields: Fields = {
        "name": name,
        "address": {"socket_address": {"address": address.host, "port_value": address.port}},
        "filter_chains": [{"filters": [network_filter]}],
    }
    return resource(ResourceType.LISTENER, name, serialise(ResourceType.LISTENER.message, fields))
