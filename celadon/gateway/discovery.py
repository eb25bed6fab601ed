"""The two messages of incremental discovery, as values of the gateway's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

from celadon.domain.decisions.enrolment import MAX_REFUSAL_BYTES, bounded
from celadon.domain.language.names import RouterNode
from celadon.gateway.own_listeners import Metadata, OwnListeners, read_own_listeners
from celadon.gateway.protobuf import message_class, serialise
from celadon.gateway.resources import Resource, ResourceType

SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD: Final = "DeltaAggregatedResources"


@dataclass(frozen=True, slots=True)
class DiscoveryRequest:
    """What a router asks, and what it answers to the response with this nonce."""

    kind: str
    """The type's URL; it may be one that the gateway does not serve."""
    node: RouterNode | None = None
    """Told in a stream's first request only."""
    own: OwnListeners = field(default_factory=OwnListeners)
    """What its listeners have of their own; told with ``node``."""
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    """What the router holds already; told in a stream's first request of a type."""
    nonce: str = ""
    refusal: str | None = None
    """Why the router refuses the response; ``None`` when it accepts it."""


@dataclass(frozen=True, slots=True)
class DiscoveryResponse:
    """Resources of one type that are new to a router, and names that it must forget."""

    kind: ResourceType
    nonce: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


class _Node(Protocol):
    id: str
    metadata: Metadata


class _Status(Protocol):
    message: str


class _DeltaDiscoveryRequest(Protocol):
    node: _Node
    type_url: str
    resource_names_subscribe: Sequence[str]
    resource_names_unsubscribe: Sequence[str]
    initial_resource_versions: Mapping[str, str]
    response_nonce: str
    error_detail: _Status

    def HasField(self, name: str) -> bool: ...  # noqa: N802 - protobuf's own name


def parse_request(wire: bytes) -> DiscoveryRequest:
    """Return a request.

    Raises:
        DecodeError: the bytes are none.
        ValueError: what a router says of its listeners cannot be.

    """
    parsed = message_class("envoy.service.discovery.v3.DeltaDiscoveryRequest").FromString(wire)
    request = cast("_DeltaDiscoveryRequest", parsed)
    return DiscoveryRequest(
        kind=request.type_url,
        node=RouterNode(request.node.id) if request.node.id else None,
        own=read_own_listeners(request.node.metadata),
        subscribe=tuple(request.resource_names_subscribe),
        unsubscribe=tuple(request.resource_names_unsubscribe),
        initial_versions=dict(request.initial_resource_versions),
        nonce=request.response_nonce,
        refusal=bounded(request.error_detail.message, MAX_REFUSAL_BYTES) if request.HasField("error_detail") else None,
    )


def serialise_response(response: DiscoveryResponse) -> bytes:
    """Return a response on the wire: its own fields, then the resources as they were serialised once."""
    head = serialise(
        "envoy.service.discovery.v3.DeltaDiscoveryResponse",
        {"type_url": response.kind.value, "nonce": response.nonce, "removed_resources": response.removed},
    )
    return b"".join((head, *(resource.wire for resource in response.resources)))
