"""Whom a gateway believes: which peer may speak for which router, decided from what was enrolled.

A router's certificate names it as a SPIFFE ID does (``spiffe://<trust domain>/router/<node>``), or by a DNS name.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from celadon.domain.language.base_models import Record
from celadon.domain.language.limits import quoted
from celadon.domain.language.moments import utc
from celadon.domain.language.names import RouterNode

MAX_NODE_LENGTH: Final = 100

MAX_SPOKEN_NODE_BYTES: Final = 200
"""What a peer may say at most that it is; more is not even compared with what was enrolled."""

MAX_REFUSAL_BYTES: Final = 2000
"""How much of what a router refuses is kept."""

CERTIFICATE_EXPIRES_SOON: Final = timedelta(days=30)
"""From so long before its end on, people are warned."""

GATEWAY_PATH: Final = "gateway"
"""The path of the identity by which routers know a gateway."""

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Also a segment of a SPIFFE ID's path, and a name of a directory."""
_TRUST_DOMAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")
_SPIFFE_ID = re.compile(r"spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+")
_DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


class Enrolment(Record):
    """What was enrolled of one router."""

    node: RouterNode
    identity: str | None
    """The name that its certificate bears; ``None`` for a router that reaches its gateway by a Unix socket."""
    serials: tuple[str, ...] = ()
    """The certificates that count, in hexadecimal; empty when every one does that bears the identity."""


@dataclass(frozen=True, slots=True)
class SocketPeer:
    """A process that could open the gateway's Unix socket, so one of the gateway's own user, or root."""

    def __str__(self) -> str:
        """Return how log lines name it."""
        return "a process on the gateway's socket"


@dataclass(frozen=True, slots=True)
class CertifiedPeer:
    """A process that proved to hold the key of a certificate which the gateway's CA has signed."""

    names: frozenset[str]
    """Its URIs and DNS names."""
    serial: str
    expires_at: datetime

    def __str__(self) -> str:
        """Return how log lines name it."""
        return f"certificate {self.serial} of {', '.join(sorted(self.names)) or 'nobody'}"


Peer: TypeAlias = SocketPeer | CertifiedPeer


def refusal_of(node: str, peer: Peer, enrolment: Enrolment | None, now: datetime) -> str | None:
    """Return why a peer may not speak for a router; ``None`` when it may.

    Args:
        node: the router that the peer says it is.
        peer: what the connection proves.
        enrolment: what was enrolled under that name; ``None`` when nothing was, or when it was forgotten.
        now: the moment, by which certificates expire.

    """
    enrol = f"an operator enrols it with 'celadon router enrol {node}'"
    if enrolment is None or enrolment.node != node:
        return f"no router {node} is enrolled; {enrol}"
    if isinstance(peer, SocketPeer):
        return None
    if peer.expires_at <= now:
        return f"the certificate of router {node} expired at {utc(peer.expires_at)}; {enrol} again"
    if enrolment.identity is None:
        return f"router {node} is enrolled for a Unix socket, not with a certificate; {enrol} again"
    if enrolment.identity not in peer.names:
        return f"the certificate does not name router {node}"
    if enrolment.serials and peer.serial not in enrolment.serials:
        return f"the certificate of router {node} was replaced or revoked; {enrol} again"
    return None


def bounded(text: str, limit: int) -> str:
    """Return the beginning of a text that takes at most ``limit`` bytes of UTF-8, with a mark when that is not all."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return text
    mark = "…"
    return encoded[: limit - len(mark.encode())].decode(errors="ignore") + mark


def refusal_of_spoken_node(node: str) -> str | None:
    """Return why a peer cannot be the router that it says it is, whoever it is; ``None`` when it can."""
    size = len(node.encode(errors="replace"))
    if size > MAX_SPOKEN_NODE_BYTES:
        return (
            f"node.id {quoted(node)} has {size} bytes; a router's name has at most {MAX_SPOKEN_NODE_BYTES}: "
            "set node.id to the name under which the router was enrolled"
        )
    return None


def check_node(value: str) -> RouterNode:
    """Return ``value`` when it can name a router that is enrolled, else raise ``ValueError`` that says why."""
    if not _NODE.fullmatch(value) or len(value) > MAX_NODE_LENGTH:
        raise ValueError(
            f"{quoted(value)} cannot name a router: use at most {MAX_NODE_LENGTH} letters, digits, '.', '_' and '-', "
            "beginning with a letter or a digit",
        )
    return RouterNode(value)


def check_trust_domain(value: str) -> str:
    """Return ``value`` when it can be a trust domain, else raise ``ValueError`` that says why."""
    if not _TRUST_DOMAIN.fullmatch(value):
        raise ValueError(f"{quoted(value)} is not a trust domain: use lower-case letters, digits, '.', '_' and '-'")
    return value


def check_identity(value: str) -> str:
    """Return ``value`` when a certificate can bear it, else raise ``ValueError`` that says why."""
    if not (_SPIFFE_ID.fullmatch(value) or _DNS_NAME.fullmatch(value)):
        raise ValueError(
            f"{quoted(value)} is not an identity: write a SPIFFE ID (spiffe://TRUST-DOMAIN/PATH) or a DNS name in "
            "lower case",
        )
    return value


def router_identity(trust_domain: str, node: str) -> str:
    """Return the SPIFFE ID of a router."""
    return f"spiffe://{trust_domain}/router/{node}"


def gateway_identity(trust_domain: str) -> str:
    """Return the SPIFFE ID of all gateways of an installation."""
    return f"spiffe://{trust_domain}/{GATEWAY_PATH}"
