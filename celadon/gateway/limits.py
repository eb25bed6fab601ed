"""How many requests to a deployment may run at a time, on each router.

The figures are keys of Envoy's runtime, which override those of the clusters: a changed cluster would make Envoy forget
the requests that it counts, and what drains would have to wait for its deadline. Only figures other than the default
are told, so a router whose bootstrap was written before there was such a layer holds every deployment to the default.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from celadon.domain.language.traffic import DEFAULT_MAX_REQUESTS
from celadon.gateway.bootstrap import RUNTIME_LAYER
from celadon.gateway.protobuf import message_class, serialise
from celadon.gateway.resources import Resource, ResourceType, resource

Limits: TypeAlias = Mapping[str, int]
"""Figures by their keys."""

NO_LIMITS: Final[Limits] = MappingProxyType({})
"""Of a deployment that has the default alone."""

_BREAKERS: Final = ("max_requests", "max_pending_requests")
"""Of requests that run, and of those that wait for a connection to a replica."""


def limits_of(clusters: Iterable[str], max_requests: int | None) -> Limits:
    """Return the keys of a deployment.

    Args:
        clusters: the names of all its clusters, each of which counts for itself.
        max_requests: how many may run in each; ``None`` for the default.

    """
    if max_requests is None or max_requests == DEFAULT_MAX_REQUESTS:
        return NO_LIMITS
    return {
        f"circuit_breakers.{cluster}.default.{breaker}": max_requests for cluster in clusters for breaker in _BREAKERS
    }


def runtime_layer(limits: Iterable[Limits]) -> Resource:
    """Return the layer with the limits of all deployments."""
    layer: Any = message_class("google.protobuf.Struct")()
    layer.update({key: figure for one in limits for key, figure in one.items()})
    body = serialise(ResourceType.RUNTIME.message, {"name": RUNTIME_LAYER, "layer": layer})
    return resource(ResourceType.RUNTIME, RUNTIME_LAYER, body)
