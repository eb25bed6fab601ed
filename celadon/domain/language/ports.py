"""The ports of a replica: named, each with the protocol in which routers speak to it."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, TypeAdapter, WithJsonSchema, model_validator

from celadon.domain.language.base_models import TEXT_TAG, WRITTEN_OUT_TAG, StrictModel, tag_of_form
from celadon.domain.language.limits import quoted

MAX_PORT_NAME_LENGTH: Final = 15
"""As many characters as a service's name may have (RFC 6335), and a named port on Kubernetes."""

MOST_PORTS: Final = 10

STREAMS: Final = 100
"""How many requests at a time one connection of HTTP/2 takes, unless a revision says otherwise."""

_NAME: Final = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


class PortProtocol(StrEnum):
    """What routers speak to a port."""

    HTTP1 = "http1"
    """HTTP/1.1: it gets all requests but those of gRPC."""
    H2C = "h2c"
    """HTTP/2 without TLS: it gets the requests of gRPC."""
    NONE = "none"
    """Nothing: the port is reserved, and probes may ask it."""


class Port(StrictModel):
    """A port of which more is to be said than its protocol."""

    protocol: PortProtocol
    """What routers speak to it: `http1`, `h2c` or `none`."""
    max_concurrent_streams: Annotated[int, Field(ge=1, le=1_000_000)] = STREAMS
    """How many requests at a time a replica takes on one connection (`h2c`); for more a router opens another one."""

    @model_validator(mode="after")
    def _has_streams(self) -> Self:
        if self.max_concurrent_streams != STREAMS and self.protocol is not PortProtocol.H2C:
            raise ValueError(
                f"max_concurrent_streams belongs to the protocol '{PortProtocol.H2C}', and this port's is "
                f"'{self.protocol}'"
            )
        return self


HTTP_PORT: Final = "http"
"""The port of a revision that names none."""

DEFAULT_PORTS: Final[Mapping[str, PortProtocol | Port]] = {HTTP_PORT: PortProtocol.HTTP1}


def protocol_of(port: PortProtocol | Port) -> PortProtocol:
    """Return what routers speak to a port."""
    return port.protocol if isinstance(port, Port) else port


def _check_name(value: str) -> str:
    if not _NAME.fullmatch(value) or len(value) > MAX_PORT_NAME_LENGTH:
        raise ValueError(
            f"{quoted(value)} is no name of a port: use at most {MAX_PORT_NAME_LENGTH} lower-case letters, digits and "
            "'-', beginning with a letter, ending with a letter or digit"
        )
    return value


def _shortened(ports: dict[str, PortProtocol | Port]) -> dict[str, PortProtocol | Port]:
    """Return ports so that those which mean the same are the same."""
    return {
        name: port.protocol if isinstance(port, Port) and port.max_concurrent_streams == STREAMS else port
        for name, port in ports.items()
    }


def _check_protocols(ports: dict[str, PortProtocol | Port]) -> dict[str, PortProtocol | Port]:
    protocols = {name: protocol_of(port) for name, port in ports.items()}
    for protocol in (PortProtocol.HTTP1, PortProtocol.H2C):
        names = [quoted(name) for name, one in protocols.items() if one is protocol]
        if len(names) > 1:
            raise ValueError(
                f"{' and '.join(names)} are both '{protocol}', and routers send requests to one port of each protocol: "
                f"write '{PortProtocol.NONE}' for the ports that get no requests"
            )
    if not set(protocols.values()) - {PortProtocol.NONE}:
        raise ValueError(
            f"no port takes requests: give one '{PortProtocol.HTTP1}', or '{PortProtocol.H2C}' for gRPC alone"
        )
    return _shortened(ports)


PortName = Annotated[
    str,
    AfterValidator(_check_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$", "maxLength": MAX_PORT_NAME_LENGTH}),
]
"""A port's name, like a DNS label."""

_Written = Annotated[
    Annotated[PortProtocol, Tag(TEXT_TAG)] | Annotated[Port, Tag(WRITTEN_OUT_TAG)],
    Discriminator(tag_of_form),
]

Ports = Annotated[dict[PortName, _Written], Field(max_length=MOST_PORTS), AfterValidator(_check_protocols)]
"""A replica's ports by name: one that takes requests at least, and one of each protocol at most."""


def port_with(ports: Mapping[str, PortProtocol | Port], protocol: PortProtocol) -> str | None:
    """Return the name of the port to which routers speak a protocol, or ``None`` when there is none."""
    return next((name for name, one in ports.items() if protocol_of(one) is protocol), None)


def main_port(ports: Mapping[str, PortProtocol | Port]) -> str:
    """Return the name of the port that ``{port}`` stands for: that of HTTP/1.1, or else that of gRPC."""
    return port_with(ports, PortProtocol.HTTP1) or port_with(ports, PortProtocol.H2C) or HTTP_PORT


def grpc_streams(ports: Mapping[str, PortProtocol | Port]) -> int | None:
    """Return how many requests of gRPC at a time one connection takes, or ``None`` when no port is for gRPC."""
    name = port_with(ports, PortProtocol.H2C)
    if name is None:
        return None
    port = ports[name]
    return port.max_concurrent_streams if isinstance(port, Port) else STREAMS


def stored_ports(stored: Mapping[str, Any] | None) -> Mapping[str, PortProtocol | Port]:
    """Return the ports of a stored revision; one that an earlier version stored says nothing of them."""
    return DEFAULT_PORTS if stored is None else _PORTS.validate_python(dict(stored), strict=False)


_PORTS: Final = TypeAdapter[dict[str, PortProtocol | Port]](Ports)
